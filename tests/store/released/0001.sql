BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('v3.2.0.a');
CREATE TABLE flatselect_alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT flatselect_alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "flatselect_alembic_version" VALUES('0001');
CREATE TABLE flatselect_attempts (
	study_uid TEXT NOT NULL, 
	trial_number INTEGER NOT NULL, 
	attempt INTEGER NOT NULL, 
	run_uid TEXT NOT NULL, 
	started_at DATETIME NOT NULL, 
	ended_at DATETIME, 
	outcome TEXT NOT NULL, 
	failure_kind TEXT, 
	failure_message TEXT, 
	failure_traceback TEXT, 
	pruned_because TEXT, 
	is_calibration BOOLEAN NOT NULL, 
	candidate JSON NOT NULL, 
	model TEXT NOT NULL, 
	CONSTRAINT pk_flatselect_attempts PRIMARY KEY (study_uid, trial_number, attempt), 
	CONSTRAINT fk_flatselect_attempts_run_uid FOREIGN KEY(run_uid) REFERENCES flatselect_runs (uid) ON DELETE CASCADE, 
	CONSTRAINT fk_flatselect_attempts_study_uid FOREIGN KEY(study_uid) REFERENCES flatselect_studies (uid) ON DELETE CASCADE
);
INSERT INTO "flatselect_attempts" VALUES('f5027897cbbf4f379186e704d1c5dd04',0,1,'2c98997c269648e18875baa1f21fcff5','2026-11-22 12:06:41.164453','2026-11-22 12:06:44.561950','complete',NULL,NULL,NULL,NULL,1,'{"model": "cnn", "model_args": {"width": 6, "block": "residual"}, "training": {"epochs": 3, "batch_size": 64, "optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.639674555745089, "nesterov": false, "weight_decay": 0.0, "schedule": "cosine", "warmup_epochs": 0.0, "step_epochs": 10, "step_factor": 0.1, "label_smoothing": 0.0, "gradient_clip": null, "target_train_loss": null, "mixed_precision": true}, "augmentation": "none"}','cnn 2×1 residual w6 k3 relu');
INSERT INTO "flatselect_attempts" VALUES('f5027897cbbf4f379186e704d1c5dd04',1,1,'2c98997c269648e18875baa1f21fcff5','2026-11-22 12:06:44.609280','2026-11-22 12:06:44.775400','fail','NonFiniteError','the training loss is nan in epoch 1 (learning_rate = 1e+30); a lower rate or gradient_clip may help','',NULL,1,'{"model": "cnn", "model_args": {"width": 8, "block": "residual"}, "training": {"epochs": 3, "batch_size": 64, "optimizer": "sgd", "learning_rate": 1e+30, "momentum": 0.8437175487183606, "nesterov": false, "weight_decay": 0.0, "schedule": "cosine", "warmup_epochs": 0.0, "step_epochs": 10, "step_factor": 0.1, "label_smoothing": 0.0, "gradient_clip": null, "target_train_loss": null, "mixed_precision": true}, "augmentation": "none"}','cnn 2×1 residual w8 k3 relu');
INSERT INTO "flatselect_attempts" VALUES('f5027897cbbf4f379186e704d1c5dd04',2,1,'2c98997c269648e18875baa1f21fcff5','2026-11-22 12:06:44.843187','2026-11-22 12:06:45.000650','fail','NonFiniteError','the training loss is nan in epoch 1 (learning_rate = 1e+30); a lower rate or gradient_clip may help','',NULL,1,'{"model": "cnn", "model_args": {"width": 7, "block": "residual"}, "training": {"epochs": 3, "batch_size": 64, "optimizer": "sgd", "learning_rate": 1e+30, "momentum": 0.894096101936779, "nesterov": false, "weight_decay": 0.0, "schedule": "cosine", "warmup_epochs": 0.0, "step_epochs": 10, "step_factor": 0.1, "label_smoothing": 0.0, "gradient_clip": null, "target_train_loss": null, "mixed_precision": true}, "augmentation": "none"}','cnn 2×1 residual w7 k3 relu');
INSERT INTO "flatselect_attempts" VALUES('f5027897cbbf4f379186e704d1c5dd04',3,1,'2c98997c269648e18875baa1f21fcff5','2026-11-22 12:06:45.033720','2026-11-22 12:06:45.618886','complete',NULL,NULL,NULL,NULL,1,'{"model": "cnn", "model_args": {"width": 6, "block": "residual"}, "training": {"epochs": 3, "batch_size": 64, "optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.5088918889841205, "nesterov": false, "weight_decay": 0.0, "schedule": "cosine", "warmup_epochs": 0.0, "step_epochs": 10, "step_factor": 0.1, "label_smoothing": 0.0, "gradient_clip": null, "target_train_loss": null, "mixed_precision": true}, "augmentation": "none"}','cnn 2×1 residual w6 k3 relu');
INSERT INTO "flatselect_attempts" VALUES('f5027897cbbf4f379186e704d1c5dd04',4,1,'2c98997c269648e18875baa1f21fcff5','2026-11-22 12:06:45.700985','2026-11-22 12:06:46.219487','complete',NULL,NULL,NULL,NULL,1,'{"model": "cnn", "model_args": {"width": 8, "block": "residual"}, "training": {"epochs": 3, "batch_size": 64, "optimizer": "sgd", "learning_rate": 1e-06, "momentum": 0.6826896608507739, "nesterov": false, "weight_decay": 0.0, "schedule": "cosine", "warmup_epochs": 0.0, "step_epochs": 10, "step_factor": 0.1, "label_smoothing": 0.0, "gradient_clip": null, "target_train_loss": null, "mixed_precision": true}, "augmentation": "none"}','cnn 2×1 residual w8 k3 relu');
INSERT INTO "flatselect_attempts" VALUES('f5027897cbbf4f379186e704d1c5dd04',5,1,'2c98997c269648e18875baa1f21fcff5','2026-11-22 12:06:46.266729','2026-11-22 12:06:46.771975','complete',NULL,NULL,NULL,NULL,1,'{"model": "cnn", "model_args": {"width": 4, "block": "residual"}, "training": {"epochs": 3, "batch_size": 64, "optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.6444675013921333, "nesterov": false, "weight_decay": 0.0, "schedule": "cosine", "warmup_epochs": 0.0, "step_epochs": 10, "step_factor": 0.1, "label_smoothing": 0.0, "gradient_clip": null, "target_train_loss": null, "mixed_precision": true}, "augmentation": "none"}','cnn 2×1 residual w4 k3 relu');
INSERT INTO "flatselect_attempts" VALUES('f5027897cbbf4f379186e704d1c5dd04',6,1,'2c98997c269648e18875baa1f21fcff5','2026-11-22 12:06:46.971838','2026-11-22 12:06:47.333160','pruned',NULL,NULL,NULL,'MedianPruner',0,'{"model": "cnn", "model_args": {"width": 8, "block": "plain"}, "training": {"epochs": 3, "batch_size": 64, "optimizer": "sgd", "learning_rate": 1e-06, "momentum": 0.5361475028525474, "nesterov": false, "weight_decay": 0.0, "schedule": "cosine", "warmup_epochs": 0.0, "step_epochs": 10, "step_factor": 0.1, "label_smoothing": 0.0, "gradient_clip": null, "target_train_loss": null, "mixed_precision": true}, "augmentation": "none"}','cnn 2×1 plain w8 k3 relu');
INSERT INTO "flatselect_attempts" VALUES('f5027897cbbf4f379186e704d1c5dd04',7,1,'2c98997c269648e18875baa1f21fcff5','2026-11-22 12:06:47.397451','2026-11-22 12:06:47.798809','complete',NULL,NULL,NULL,NULL,0,'{"model": "cnn", "model_args": {"width": 6, "block": "plain"}, "training": {"epochs": 3, "batch_size": 64, "optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.7435281974987025, "nesterov": false, "weight_decay": 0.0, "schedule": "cosine", "warmup_epochs": 0.0, "step_epochs": 10, "step_factor": 0.1, "label_smoothing": 0.0, "gradient_clip": null, "target_train_loss": null, "mixed_precision": true}, "augmentation": "none"}','cnn 2×1 plain w6 k3 relu');
INSERT INTO "flatselect_attempts" VALUES('f5027897cbbf4f379186e704d1c5dd04',8,1,'2c98997c269648e18875baa1f21fcff5','2026-11-22 12:06:47.852573','2026-11-22 12:06:48.097116','pruned',NULL,NULL,NULL,'MedianPruner',0,'{"model": "cnn", "model_args": {"width": 8, "block": "plain"}, "training": {"epochs": 3, "batch_size": 64, "optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.5433207020157216, "nesterov": false, "weight_decay": 0.0, "schedule": "cosine", "warmup_epochs": 0.0, "step_epochs": 10, "step_factor": 0.1, "label_smoothing": 0.0, "gradient_clip": null, "target_train_loss": null, "mixed_precision": true}, "augmentation": "none"}','cnn 2×1 plain w8 k3 relu');
INSERT INTO "flatselect_attempts" VALUES('f5027897cbbf4f379186e704d1c5dd04',9,1,'2c98997c269648e18875baa1f21fcff5','2026-11-22 12:06:48.128976','2026-11-22 12:06:48.250230','fail','NonFiniteError','the training loss is nan in epoch 1 (learning_rate = 1e+30); a lower rate or gradient_clip may help','',NULL,0,'{"model": "cnn", "model_args": {"width": 4, "block": "plain"}, "training": {"epochs": 3, "batch_size": 64, "optimizer": "sgd", "learning_rate": 1e+30, "momentum": 0.6738954587476769, "nesterov": false, "weight_decay": 0.0, "schedule": "cosine", "warmup_epochs": 0.0, "step_epochs": 10, "step_factor": 0.1, "label_smoothing": 0.0, "gradient_clip": null, "target_train_loss": null, "mixed_precision": true}, "augmentation": "none"}','cnn 2×1 plain w4 k3 relu');
CREATE TABLE flatselect_audits (
	study_uid TEXT NOT NULL, 
	trial_number INTEGER NOT NULL, 
	score DOUBLE NOT NULL, 
	loss DOUBLE, 
	n_images INTEGER NOT NULL, 
	audited_at DATETIME NOT NULL, 
	CONSTRAINT pk_flatselect_audits PRIMARY KEY (study_uid, trial_number), 
	CONSTRAINT fk_flatselect_audits_study_uid FOREIGN KEY(study_uid) REFERENCES flatselect_studies (uid) ON DELETE CASCADE
);
INSERT INTO "flatselect_audits" VALUES('f5027897cbbf4f379186e704d1c5dd04',0,0.06,2.34222091674804699934e+00,50,'2026-11-22 12:06:48.336529');
INSERT INTO "flatselect_audits" VALUES('f5027897cbbf4f379186e704d1c5dd04',3,0.1,2.36645278930664071381e+00,50,'2026-11-22 12:06:48.374974');
INSERT INTO "flatselect_audits" VALUES('f5027897cbbf4f379186e704d1c5dd04',4,0.1,2.32787887573242180394e+00,50,'2026-11-22 12:06:48.435729');
INSERT INTO "flatselect_audits" VALUES('f5027897cbbf4f379186e704d1c5dd04',5,0.2,2.30281661987304708816e+00,50,'2026-11-22 12:06:48.498850');
INSERT INTO "flatselect_audits" VALUES('f5027897cbbf4f379186e704d1c5dd04',6,0.1,2.31153930664062512434e+00,50,'2026-11-22 12:06:48.535235');
INSERT INTO "flatselect_audits" VALUES('f5027897cbbf4f379186e704d1c5dd04',7,0.06,2.31307464599609380329e+00,50,'2026-11-22 12:06:48.578251');
INSERT INTO "flatselect_audits" VALUES('f5027897cbbf4f379186e704d1c5dd04',8,0.1,2.30201766967773435723e+00,50,'2026-11-22 12:06:48.614500');
CREATE TABLE flatselect_calibrators (
	id INTEGER NOT NULL, 
	uid TEXT NOT NULL, 
	study_uid TEXT NOT NULL, 
	created_at DATETIME NOT NULL, 
	artifact TEXT NOT NULL, 
	summary JSON NOT NULL, 
	n_rows INTEGER, 
	CONSTRAINT pk_flatselect_calibrators PRIMARY KEY (id), 
	CONSTRAINT fk_flatselect_calibrators_study_uid FOREIGN KEY(study_uid) REFERENCES flatselect_studies (uid) ON DELETE CASCADE, 
	CONSTRAINT uq_flatselect_calibrators_uid UNIQUE (uid)
);
INSERT INTO "flatselect_calibrators" VALUES(1,'67073bd66c1949a8865ab4aeb1cc00a6','f5027897cbbf4f379186e704d1c5dd04','2026-11-22 12:06:46.842999','{"schema": "flatselect.gap_predictor", "schema_version": 1, "specification": {"estimator": "ridge", "coverage": 0.9}, "features": {"log_relative_gap_flatness": "log10 of the mean relative GAP flatness κ of the probe images", "log_temperature_flat_ratio": "log10 of κ / (mean gini · mean logit variance)", "log_train_loss": "log10 of the mean cross-entropy (nats) on the training images", "train_score": "accuracy on the training images", "mean_confidence": "mean of the largest class probability", "confidence_q10": "10 % quantile of the largest class probability", "log_gini": "log10 of the mean of 1 - sum of squared class probabilities", "log_logit_variance": "log10 of the mean variance of an image''s logits", "margin_q10": "10 % quantile of the two largest logits'' difference", "margin_q50": "median of the two largest logits'' difference", "log_head_frobenius_norm": "log10 of the Frobenius norm of the linear classifier''s weight", "log_feature_norm": "log10 of the mean norm of the pooled features", "log_n_train_images": "log10 of the number of images trained on", "log_n_parameters": "log10 of the number of trainable parameters"}, "metadata": {}, "rows": [{"group": "0", "epoch": 1, "features": {"log_relative_gap_flatness": 0.9250597011073437, "log_temperature_flat_ratio": 1.6118072714124636, "log_train_loss": 0.3790078804097141, "train_score": 0.08333333333333333, "mean_confidence": 0.16694269068394638, "confidence_q10": 0.15384883240754219, "log_gini": -0.055103149863840434, "log_logit_variance": -0.6316444204412793, "margin_q10": 0.0051004916429519655, "margin_q50": 0.039062559604644775, "log_head_frobenius_norm": 0.27357222438015, "log_feature_norm": 0.5261131393151484, "log_n_train_images": 1.9822712330395684, "log_n_parameters": 3.470704429722788}, "test_gap": 0.0}, {"group": "0", "epoch": 2, "features": {"log_relative_gap_flatness": 0.7628068293860618, "log_temperature_flat_ratio": 1.65045187322257, "log_train_loss": 0.3710200208985921, "train_score": 0.07291666666666667, "mean_confidence": 0.15295621850049892, "confidence_q10": 0.14169962682950943, "log_gini": -0.05168692536893987, "log_logit_variance": -0.8359581184675683, "margin_q10": 0.01960591971874237, "margin_q50": 0.048864349722862244, "log_head_frobenius_norm": 0.2723903506594468, "log_feature_norm": 0.4433247111115307, "log_n_train_images": 1.9822712330395684, "log_n_parameters": 3.470704429722788}, "test_gap": 0.03125000000000001}, {"group": "0", "epoch": 3, "features": {"log_relative_gap_flatness": 0.6414691131821293, "log_temperature_flat_ratio": 1.6736048241616188, "log_train_loss": 0.3673786295738722, "train_score": 0.08333333333333333, "mean_confidence": 0.1444836153583655, "confidence_q10": 0.13307718503062965, "log_gini": -0.050008092753801955, "log_logit_variance": -0.9821276182256877, "margin_q10": 0.014698101580142975, "margin_q50": 0.055246978998184204, "log_head_frobenius_norm": 0.27205854866834467, "log_feature_norm": 0.3804872752935897, "log_n_train_images": 1.9822712330395684, "log_n_parameters": 3.470704429722788}, "test_gap": 0.0}, {"group": "3", "epoch": 1, "features": {"log_relative_gap_flatness": 0.420617645392954, "log_temperature_flat_ratio": 0.9827006927765358, "log_train_loss": 0.3900144783332879, "train_score": 0.09375, "mean_confidence": 0.284167973072624, "confidence_q10": 0.2474987835146263, "log_gini": -0.0686201190920686, "log_logit_variance": -0.4934629282915133, "margin_q10": 0.5949710220098495, "margin_q50": 0.7271829396486282, "log_head_frobenius_norm": 0.2660393753373579, "log_feature_norm": 0.47564646012918943, "log_n_train_images": 1.9822712330395684, "log_n_parameters": 3.470704429722788}, "test_gap": -0.03125}, {"group": "3", "epoch": 2, "features": {"log_relative_gap_flatness": 0.307573014362532, "log_temperature_flat_ratio": 1.1017000609534922, "log_train_loss": 0.37502129798429606, "train_score": 0.09375, "mean_confidence": 0.22390549795355877, "confidence_q10": 0.1921823754827549, "log_gini": -0.05691472282962734, "log_logit_variance": -0.7372123237613328, "margin_q10": 0.42707115709781646, "margin_q50": 0.5483881123363972, "log_head_frobenius_norm": 0.2644093682302466, "log_feature_norm": 0.3673021630633829, "log_n_train_images": 1.9822712330395684, "log_n_parameters": 3.470704429722788}, "test_gap": -0.03125}, {"group": "3", "epoch": 3, "features": {"log_relative_gap_flatness": 0.24237047782788265, "log_temperature_flat_ratio": 1.1894961239821178, "log_train_loss": 0.3690949792247046, "train_score": 0.09375, "mean_confidence": 0.19527868293366657, "confidence_q10": 0.1634062253466836, "log_gini": -0.052847381454555926, "log_logit_variance": -0.8942782646996792, "margin_q10": 0.34096757471561434, "margin_q50": 0.45300501585006714, "log_head_frobenius_norm": 0.26416649272199055, "log_feature_norm": 0.288079483413429, "log_n_train_images": 1.9822712330395684, "log_n_parameters": 3.470704429722788}, "test_gap": -0.03125}, {"group": "4", "epoch": 1, "features": {"log_relative_gap_flatness": 0.7645285434167347, "log_temperature_flat_ratio": 1.9832107981916263, "log_train_loss": 0.3709748361308373, "train_score": 0.09375, "mean_confidence": 0.15741397520670744, "confidence_q10": 0.14350091024319236, "log_gini": -0.04910398666271104, "log_logit_variance": -1.1695782681121805, "margin_q10": 0.14786596447229386, "margin_q50": 0.2445620521903038, "log_head_frobenius_norm": 0.2796211021740506, "log_feature_norm": 0.37356715872993085, "log_n_train_images": 1.9822712330395684, "log_n_parameters": 3.709439574132411}, "test_gap": -0.03125}, {"group": "4", "epoch": 2, "features": {"log_relative_gap_flatness": 0.6273321102300978, "log_temperature_flat_ratio": 2.0013003489743606, "log_train_loss": 0.36842971618638554, "train_score": 0.10416666666666667, "mean_confidence": 0.14443292248061043, "confidence_q10": 0.13263874436072487, "log_gini": -0.04798146817463281, "log_logit_variance": -1.32598677056963, "margin_q10": 0.10698351114988328, "margin_q50": 0.20054695010185242, "log_head_frobenius_norm": 0.2796210731715965, "log_feature_norm": 0.31223205045445596, "log_n_train_images": 1.9822712330395684, "log_n_parameters": 3.709439574132411}, "test_gap": -0.02083333333333333}, {"group": "4", "epoch": 3, "features": {"log_relative_gap_flatness": 0.5454095905894001, "log_temperature_flat_ratio": 2.0138421029431535, "log_train_loss": 0.3670455790965483, "train_score": 0.10416666666666667, "mean_confidence": 0.13582197795766932, "confidence_q10": 0.1246914685275426, "log_gini": -0.047474640836490827, "log_logit_variance": -1.4209578715172624, "margin_q10": 0.05882956236600876, "margin_q50": 0.1490461751818657, "log_head_frobenius_norm": 0.2796210662958763, "log_feature_norm": 0.2732716387707984, "log_n_train_images": 1.9822712330395684, "log_n_parameters": 3.709439574132411}, "test_gap": 0.020833333333333343}, {"group": "5", "epoch": 1, "features": {"log_relative_gap_flatness": 0.1070237061004373, "log_temperature_flat_ratio": 1.2701927413506637, "log_train_loss": 0.37069060489547034, "train_score": 0.10416666666666667, "mean_confidence": 0.1449968366502979, "confidence_q10": 0.13700483266908453, "log_gini": -0.049293901423339025, "log_logit_variance": -1.1138751338268875, "margin_q10": 0.01852715015411377, "margin_q50": 0.06644636392593384, "log_head_frobenius_norm": 0.25122905135291423, "log_feature_norm": 0.2372206034661407, "log_n_train_images": 1.9822712330395684, "log_n_parameters": 3.1405080430381798}, "test_gap": 0.020833333333333343}, {"group": "5", "epoch": 2, "features": {"log_relative_gap_flatness": -0.032376700358494714, "log_temperature_flat_ratio": 1.3361778194497935, "log_train_loss": 0.36728624981635044, "train_score": 0.11458333333333333, "mean_confidence": 0.13427456722060838, "confidence_q10": 0.12621192267953815, "log_gini": -0.04797707128890333, "log_logit_variance": -1.3205774485193849, "margin_q10": 0.0059235900640487674, "margin_q50": 0.05137406289577484, "log_head_frobenius_norm": 0.24895423846485568, "log_feature_norm": 0.1509012053018053, "log_n_train_images": 1.9822712330395684, "log_n_parameters": 3.1405080430381798}, "test_gap": -0.05208333333333333}, {"group": "5", "epoch": 3, "features": {"log_relative_gap_flatness": -0.09162026585071863, "log_temperature_flat_ratio": 1.3875737830373636, "log_train_loss": 0.3660209111058598, "train_score": 0.125, "mean_confidence": 0.1297584708496236, "confidence_q10": 0.12110336476537266, "log_gini": -0.04748682253992361, "log_logit_variance": -1.4317072263481587, "margin_q10": 0.0025038406252861026, "margin_q50": 0.035577863454818726, "log_head_frobenius_norm": 0.248427335575981, "log_feature_norm": 0.0894439649489937, "log_n_train_images": 1.9822712330395684, "log_n_parameters": 3.1405080430381798}, "test_gap": -0.04166666666666666}]}','{"estimator": "ridge", "coverage": 0.9, "n_rows": 12, "n_groups": 4, "features": ["log_relative_gap_flatness", "log_temperature_flat_ratio", "log_train_loss", "train_score", "mean_confidence", "confidence_q10", "log_gini", "log_logit_variance", "margin_q10", "margin_q50", "log_head_frobenius_norm", "log_feature_norm", "log_n_parameters"], "hyper_parameters": {"name": "ridge", "penalty": 1.0}, "cross_validated": {"mae": 0.024238354416782893, "r2": -0.04545324135407336, "spearman": 0.6443118836193364, "coverage": 1.0, "interval_width": 0.12325646178096179}, "flatness_lift": {"mae": 0.024238354416782893, "mae_without_flatness": 0.02444614752481532, "lift": 0.000207793108032428, "features": ["log_relative_gap_flatness", "log_temperature_flat_ratio"]}}',12);
CREATE TABLE flatselect_checkpoints (
	study_uid TEXT NOT NULL, 
	trial_number INTEGER NOT NULL, 
	epoch INTEGER NOT NULL, 
	path TEXT NOT NULL, 
	sha256 TEXT NOT NULL, 
	size BIGINT NOT NULL, 
	CONSTRAINT pk_flatselect_checkpoints PRIMARY KEY (study_uid, trial_number), 
	CONSTRAINT fk_flatselect_checkpoints_study_uid FOREIGN KEY(study_uid) REFERENCES flatselect_studies (uid) ON DELETE CASCADE
);
INSERT INTO "flatselect_checkpoints" VALUES('f5027897cbbf4f379186e704d1c5dd04',0,3,'/studies/released-checkpoints/f5027897/trial-00000.pt','470f325cb66427e2394f2a4e2bf57aadca249d6ef2e187f33a243bc40dda4e50',43829);
INSERT INTO "flatselect_checkpoints" VALUES('f5027897cbbf4f379186e704d1c5dd04',3,3,'/studies/released-checkpoints/f5027897/trial-00003.pt','eae5aac5b07f1b51f9dc8c8ab1eabb368a1ce578245554a42b2a4ff96c38251b',43829);
INSERT INTO "flatselect_checkpoints" VALUES('f5027897cbbf4f379186e704d1c5dd04',4,3,'/studies/released-checkpoints/f5027897/trial-00004.pt','c37cd052e66dcc05e7c51d434858567d88b7ef01b3472815410e5521599f8b81',62197);
INSERT INTO "flatselect_checkpoints" VALUES('f5027897cbbf4f379186e704d1c5dd04',5,3,'/studies/released-checkpoints/f5027897/trial-00005.pt','f097fa322da4b4500425338bec2367e6557238d936872275c34e61157219930e',31733);
INSERT INTO "flatselect_checkpoints" VALUES('f5027897cbbf4f379186e704d1c5dd04',6,2,'/studies/released-checkpoints/f5027897/trial-00006.pt','87f5642c3d9b553897ae674d3d486cc067a2fccce64b09ba1d75897f448f8d5a',28294);
INSERT INTO "flatselect_checkpoints" VALUES('f5027897cbbf4f379186e704d1c5dd04',7,3,'/studies/released-checkpoints/f5027897/trial-00007.pt','540f347a5e7212abcf3aa15fa6acd4697e205437f6245204e9efac1a2aada65f',21574);
INSERT INTO "flatselect_checkpoints" VALUES('f5027897cbbf4f379186e704d1c5dd04',8,1,'/studies/released-checkpoints/f5027897/trial-00008.pt','f6dc21d5956da395f864f2e90b5ebbb30c7a579d4023db62799eb0053ff84b3d',28038);
CREATE TABLE flatselect_measurements (
	study_uid TEXT NOT NULL, 
	trial_number INTEGER NOT NULL, 
	epoch INTEGER NOT NULL, 
	attempt INTEGER NOT NULL, 
	train_score DOUBLE, 
	train_loss DOUBLE, 
	n_train_images INTEGER NOT NULL, 
	n_parameters BIGINT NOT NULL, 
	relative_gap_flatness DOUBLE, 
	hessian_trace DOUBLE, 
	layer TEXT, 
	exactness TEXT, 
	n_probe_images INTEGER NOT NULL, 
	companions JSON NOT NULL, 
	holdout_score DOUBLE, 
	holdout_loss DOUBLE, 
	n_holdout_images INTEGER NOT NULL, 
	train_seconds DOUBLE, 
	measure_seconds DOUBLE, 
	CONSTRAINT pk_flatselect_measurements PRIMARY KEY (study_uid, trial_number, epoch), 
	CONSTRAINT fk_flatselect_measurements_study_uid FOREIGN KEY(study_uid) REFERENCES flatselect_studies (uid) ON DELETE CASCADE
);
INSERT INTO "flatselect_measurements" VALUES('f5027897cbbf4f379186e704d1c5dd04',0,1,1,8.33333333333333287074e-02,2.39335918426513671875e+00,96,2956,8.4151081356034644898e+00,8.93027000653953706432e+00,'stages.1.0.second.conv','hessian',32,'{"mean_confidence": 0.16694269068394638, "confidence_q10": 0.15384883240754219, "gini": 0.880839638759354, "logit_variance": 0.23353693685190777, "margin_q10": 0.0051004916429519655, "margin_q50": 0.039062559604644775, "temperature_flat_ratio": 40.907908079417375, "head_frobenius_norm": 1.8774666203346309, "feature_norm": 3.358250896163823}',8.33333333333333287074e-02,2.38834126790364598136e+00,24,8.08508869999968737829e-02,8.34352710000985098304e-02);
INSERT INTO "flatselect_measurements" VALUES('f5027897cbbf4f379186e704d1c5dd04',0,2,1,7.29166666666666712925e-02,2.34974114100138331551e+00,96,2956,5.79171028616407657096e+00,6.12158714471168785564e+00,'stages.1.0.second.conv','hessian',32,'{"mean_confidence": 0.15295621850049892, "confidence_q10": 0.14169962682950943, "gini": 0.8877957765012883, "logit_variance": 0.1458954948967886, "margin_q10": 0.01960591971874237, "margin_q50": 0.048864349722862244, "temperature_flat_ratio": 44.71485978239717, "head_frobenius_norm": 1.8723642945339067, "feature_norm": 2.7753944220248066}',4.16666666666666643537e-02,2.35402154922485351562e+00,24,4.4711198999948464916e-02,4.02772850000019388971e-02);
INSERT INTO "flatselect_measurements" VALUES('f5027897cbbf4f379186e704d1c5dd04',0,3,1,8.33333333333333287074e-02,2.33012183507283543448e+00,96,2956,4.3799496006852249863e+00,4.63975623297577666193e+00,'stages.1.0.second.conv','hessian',32,'{"mean_confidence": 0.1444836153583655, "confidence_q10": 0.13307718503062965, "gini": 0.8912343304918858, "logit_variance": 0.10420111875124957, "margin_q10": 0.014698101580142975, "margin_q50": 0.055246978998184204, "temperature_flat_ratio": 47.16336941979217, "head_frobenius_norm": 1.870934350181691, "feature_norm": 2.401525902820036}',8.33333333333333287074e-02,2.34058634440104151863e+00,24,4.06185949998416617745e-02,7.34683530001802864717e-02);
INSERT INTO "flatselect_measurements" VALUES('f5027897cbbf4f379186e704d1c5dd04',3,1,1,0.09375,2.45479075113932276863e+00,96,2956,2.63401137050466926936e+00,2.41904536052289254044e+00,'stages.1.0.second.conv','hessian',32,'{"mean_confidence": 0.284167973072624, "confidence_q10": 0.2474987835146263, "gini": 0.853846654065559, "logit_variance": 0.3210236820780895, "margin_q10": 0.5949710220098495, "margin_q50": 0.7271829396486282, "temperature_flat_ratio": 9.609497824119726, "head_frobenius_norm": 1.845182705205454, "feature_norm": 2.989829757913261}',0.125,2.47742780049641941886e+00,24,4.85855290000927197979e-02,6.24809319999712897697e-02);
INSERT INTO "flatselect_measurements" VALUES('f5027897cbbf4f379186e704d1c5dd04',3,2,1,0.09375,2.37149000167846679687e+00,96,2956,2.03035983888301663213e+00,1.88644009244417620863e+00,'stages.1.0.second.conv','hessian',32,'{"mean_confidence": 0.22390549795355877, "confidence_q10": 0.1921823754827549, "gini": 0.877173044127491, "logit_variance": 0.18314188346507, "margin_q10": 0.42707115709781646, "margin_q50": 0.5483881123363972, "temperature_flat_ratio": 12.638631776151993, "head_frobenius_norm": 1.8382702900550758, "feature_norm": 2.3297116051291447}',0.125,2.40198167165120457511e+00,24,0.0437484349999977,6.41872779999630438396e-02);
INSERT INTO "flatselect_measurements" VALUES('f5027897cbbf4f379186e704d1c5dd04',3,3,1,0.09375,2.33934879302978515625e+00,96,2956,1.74731207364965079875e+00,1.64937246832047046396e+00,'stages.1.0.second.conv','hessian',32,'{"mean_confidence": 0.19527868293366657, "confidence_q10": 0.1634062253466836, "gini": 0.8854267093288446, "logit_variance": 0.12756212204894643, "margin_q10": 0.34096757471561434, "margin_q50": 0.45300501585006714, "temperature_flat_ratio": 15.470206969416296, "head_frobenius_norm": 1.8372425403820705, "feature_norm": 1.941241125837453}',0.125,2.37328481674194335937e+00,24,0.0685900959999799,7.14269340001010277774e-02);
INSERT INTO "flatselect_measurements" VALUES('f5027897cbbf4f379186e704d1c5dd04',4,1,1,0.09375,2.34949668248494480948e+00,96,5122,5.81471647489259702012e+00,5.60462103147120060953e+00,'stages.1.0.second.conv','hessian',32,'{"mean_confidence": 0.15741397520670744, "confidence_q10": 0.14350091024319236, "gini": 0.8930916179351649, "logit_variance": 0.06767398205633617, "margin_q10": 0.14786596447229386, "margin_q50": 0.2445620521903038, "temperature_flat_ratio": 96.20791397889252, "head_frobenius_norm": 1.903799034235757, "feature_norm": 2.363562869162159}',0.125,2.34272257486979151863e+00,24,5.53018880000308854505e-02,6.73885559999689576216e-02);
INSERT INTO "flatselect_measurements" VALUES('f5027897cbbf4f379186e704d1c5dd04',4,2,1,1.04166666666666671292e-01,2.33576806386311863761e+00,96,5122,4.23967054838464552091e+00,4.09233992904850474303e+00,'stages.1.0.second.conv','hessian',32,'{"mean_confidence": 0.14443292248061043, "confidence_q10": 0.13263874436072487, "gini": 0.8954029725685335, "logit_variance": 0.047207742141465156, "margin_q10": 0.10698351114988328, "margin_q50": 0.20054695010185242, "temperature_flat_ratio": 100.29986511507144, "head_frobenius_norm": 1.903798907098884, "feature_norm": 2.0522584402754687}',0.125,2.33362976710001612801e+00,24,5.28078899999400164233e-02,0.0719660820000172);
INSERT INTO "flatselect_measurements" VALUES('f5027897cbbf4f379186e704d1c5dd04',4,3,1,1.04166666666666671292e-01,2.32833560307820652823e+00,96,5122,3.51082830113388233428e+00,3.39000275194658584609e+00,'stages.1.0.second.conv','hessian',32,'{"mean_confidence": 0.13582197795766932, "confidence_q10": 0.1246914685275426, "gini": 0.8964485295142451, "logit_variance": 0.03793517819871166, "margin_q10": 0.05882956236600876, "margin_q50": 0.1490461751818657, "temperature_flat_ratio": 103.23859914906939, "head_frobenius_norm": 1.9037988769580718, "feature_norm": 1.8761676303169248}',8.33333333333333287074e-02,2.33003505071004246573e+00,24,5.41950720000841101864e-02,4.43261919999713427387e-02);
INSERT INTO "flatselect_measurements" VALUES('f5027897cbbf4f379186e704d1c5dd04',5,1,1,1.04166666666666671292e-01,2.3479595184326171875e+00,96,1382,1.27945114149310157358e+00,1.13481823464168574133e+00,'stages.1.0.second.conv','hessian',32,'{"mean_confidence": 0.1449968366502979, "confidence_q10": 0.13700483266908453, "gini": 0.8927011589073937, "logit_variance": 0.07693516086096364, "margin_q10": 0.01852715015411377, "margin_q50": 0.06644636392593384, "temperature_flat_ratio": 18.629137205990965, "head_frobenius_norm": 1.783319060183322, "feature_norm": 1.7267147682795065}',8.33333333333333287074e-02,2.34336058298746729988e+00,24,6.99258120000649796565e-02,6.83436209999399579828e-02);
INSERT INTO "flatselect_measurements" VALUES('f5027897cbbf4f379186e704d1c5dd04',5,2,1,1.14583333333333328707e-01,2.32962624231974269051e+00,96,1382,9.28160964970007329455e-01,8.32195501563302908465e-01,'stages.1.0.second.conv','hessian',32,'{"mean_confidence": 0.13427456722060838, "confidence_q10": 0.12621192267953815, "gini": 0.8954120378563641, "logit_variance": 0.047799411699378534, "margin_q10": 0.0059235900640487674, "margin_q50": 0.05137406289577484, "temperature_flat_ratio": 21.68591840884237, "head_frobenius_norm": 1.7740025446974517, "feature_norm": 1.4154717472883251}',1.66666666666666657414e-01,2.32581726710001612801e+00,24,3.8012129999970056815e-02,6.93477130000701436074e-02);
INSERT INTO "flatselect_measurements" VALUES('f5027897cbbf4f379186e704d1c5dd04',5,3,1,0.125,2.32284863789876316886e+00,96,1382,8.09803657891106087873e-01,0.73367189996716,'stages.1.0.second.conv','hessian',32,'{"mean_confidence": 0.1297584708496236, "confidence_q10": 0.12110336476537266, "gini": 0.8964233850156798, "logit_variance": 0.03700775784160632, "margin_q10": 0.0025038406252861026, "margin_q50": 0.035577863454818726, "temperature_flat_ratio": 24.410337442421014, "head_frobenius_norm": 1.7718515611821237, "feature_norm": 1.228694643442969}',1.66666666666666657414e-01,2.31783246994018554687e+00,24,3.21419030001379724126e-02,3.92459639999742648797e-02);
INSERT INTO "flatselect_measurements" VALUES('f5027897cbbf4f379186e704d1c5dd04',6,1,1,0.1,2.31401468912760410745e+00,120,2034,1.85501215647741646286e+00,8.69877640171051846884e-01,'stages.1.0.conv','hessian',32,'{"mean_confidence": 0.1508644180895697, "confidence_q10": 0.14094174850650854, "gini": 0.8951366007278163, "logit_variance": 0.04204172726960537, "margin_q10": 0.1700943484902382, "margin_q50": 0.2174748256802559, "temperature_flat_ratio": 49.29205159108474, "head_frobenius_norm": 1.8085605501819666, "feature_norm": 1.6300527016808297}',NULL,NULL,0,3.16009179998673062073e-02,3.38793299999906594166e-02);
INSERT INTO "flatselect_measurements" VALUES('f5027897cbbf4f379186e704d1c5dd04',6,2,1,0.1,2.31179504394531232236e+00,120,2034,1.76433324460971863167e+00,8.30057094441840837006e-01,'stages.1.0.conv','hessian',32,'{"mean_confidence": 0.15027315986529557, "confidence_q10": 0.13934355304416046, "gini": 0.8954720692719083, "logit_variance": 0.038768197507129884, "margin_q10": 0.19434924274683, "margin_q50": 0.23589424788951874, "temperature_flat_ratio": 50.82214182446781, "head_frobenius_norm": 1.8085604919345437, "feature_norm": 1.5087693032522056}',NULL,NULL,0,4.98096029998578160302e-02,4.78834450000249489676e-02);
INSERT INTO "flatselect_measurements" VALUES('f5027897cbbf4f379186e704d1c5dd04',7,1,1,1.8333333333333332038e-01,2.30580571492513,120,1204,1.38470934102065657e+00,6.91197374325994373656e-01,'stages.1.0.conv','hessian',32,'{"mean_confidence": 0.11522693679652211, "confidence_q10": 0.1117796624218117, "gini": 0.898861605375398, "logit_variance": 0.011691973426896155, "margin_q10": 0.0054457888007164, "margin_q50": 0.026216084137558937, "temperature_flat_ratio": 131.75829679899098, "head_frobenius_norm": 1.8417974718057357, "feature_norm": 1.2067188160309774}',NULL,NULL,0,3.00696189999598573194e-02,3.21583270001610799226e-02);
INSERT INTO "flatselect_measurements" VALUES('f5027897cbbf4f379186e704d1c5dd04',7,2,1,0.175,2.30390853881835955263e+00,120,1204,1.21685093839140012761e+00,6.18121248452285665386e-01,'stages.1.0.conv','hessian',32,'{"mean_confidence": 0.11433773897286914, "confidence_q10": 0.11175840069273837, "gini": 0.899053264225601, "logit_variance": 0.00964245695798446, "margin_q10": 0.004576348513364792, "margin_q50": 0.029932525008916855, "temperature_flat_ratio": 140.3667518419141, "head_frobenius_norm": 1.8409010286504728, "feature_norm": 1.1011101828084415}',NULL,NULL,0,3.67506439999942813301e-02,3.05850309998731972882e-02);
INSERT INTO "flatselect_measurements" VALUES('f5027897cbbf4f379186e704d1c5dd04',7,3,1,1.58333333333333325931e-01,2.302516937255859375e+00,120,1204,1.20191265757921916801e+00,6.17894835991447233247e-01,'stages.1.0.conv','hessian',32,'{"mean_confidence": 0.11437239769030287, "confidence_q10": 0.11150981656615506, "gini": 0.8991027151302555, "logit_variance": 0.009083706412884224, "margin_q10": 0.00521099902689457, "margin_q50": 0.026958191767334938, "temperature_flat_ratio": 147.16363630433716, "head_frobenius_norm": 1.8406382425679746, "feature_norm": 1.0579247801403193}',NULL,NULL,0,2.44088439999359252396e-02,3.17651390000719402451e-02);
INSERT INTO "flatselect_measurements" VALUES('f5027897cbbf4f379186e704d1c5dd04',8,1,1,6.66666666666666657414e-02,2.31091130574544267872e+00,120,2034,9.35967294369837832235e-01,5.03941288877141402302e-01,'stages.1.0.conv','hessian',32,'{"mean_confidence": 0.1134481289088818, "confidence_q10": 0.11015836067522575, "gini": 0.8989348397841748, "logit_variance": 0.011821176597468324, "margin_q10": 0.001978999376296997, "margin_q50": 0.020480312407016754, "temperature_flat_ratio": 88.07887430027674, "head_frobenius_norm": 1.8382057442105602, "feature_norm": 0.8103531830876245}',NULL,NULL,0,5.24462030000449885847e-02,5.08802039998954569455e-02);
CREATE TABLE flatselect_predictions (
	study_uid TEXT NOT NULL, 
	trial_number INTEGER NOT NULL, 
	epoch INTEGER NOT NULL, 
	calibrator_uid TEXT NOT NULL, 
	gap DOUBLE, 
	gap_low DOUBLE, 
	gap_high DOUBLE, 
	score DOUBLE, 
	score_low DOUBLE, 
	score_high DOUBLE, 
	extrapolation BOOLEAN NOT NULL, 
	CONSTRAINT pk_flatselect_predictions PRIMARY KEY (study_uid, trial_number, epoch, calibrator_uid), 
	CONSTRAINT fk_flatselect_predictions_calibrator_uid FOREIGN KEY(calibrator_uid) REFERENCES flatselect_calibrators (uid) ON DELETE CASCADE, 
	CONSTRAINT fk_flatselect_predictions_study_uid FOREIGN KEY(study_uid) REFERENCES flatselect_studies (uid) ON DELETE CASCADE
);
INSERT INTO "flatselect_predictions" VALUES('f5027897cbbf4f379186e704d1c5dd04',0,3,'67073bd66c1949a8865ab4aeb1cc00a6',-0.00758625179336566,-5.07364189373088886325e-02,3.18560124877006467514e-02,9.09195851266989818473e-02,5.14773208456326819559e-02,1.34069752270642217339e-01,1);
INSERT INTO "flatselect_predictions" VALUES('f5027897cbbf4f379186e704d1c5dd04',3,3,'67073bd66c1949a8865ab4aeb1cc00a6',-0.0372765888611831,-1.64693944283939353034e-01,1.38780188865809200882e-01,1.31026588861183096446e-01,0.0,2.58443944283939353034e-01,1);
INSERT INTO "flatselect_predictions" VALUES('f5027897cbbf4f379186e704d1c5dd04',4,3,'67073bd66c1949a8865ab4aeb1cc00a6',-0.0101507412399577,-8.95105518573905412083e-02,3.90769632425928825636e-02,1.14317407906624368685e-01,6.50897034240737887289e-02,1.93677218524057226378e-01,1);
INSERT INTO "flatselect_predictions" VALUES('f5027897cbbf4f379186e704d1c5dd04',5,3,'67073bd66c1949a8865ab4aeb1cc00a6',-1.37291160596709899133e-02,-1.01355345309806721409e-01,9.19940192314069593582e-02,1.38729116059670976035e-01,3.30059807685930406417e-02,2.26355345309806721409e-01,1);
INSERT INTO "flatselect_predictions" VALUES('f5027897cbbf4f379186e704d1c5dd04',6,1,'67073bd66c1949a8865ab4aeb1cc00a6',-1.97048523889993276725e-02,-4.58155712620980370974e-02,1.86586340943396648828e-02,1.19704852388999333223e-01,8.13413659056603371988e-02,1.45815571262098042648e-01,1);
INSERT INTO "flatselect_predictions" VALUES('f5027897cbbf4f379186e704d1c5dd04',6,2,'67073bd66c1949a8865ab4aeb1cc00a6',-2.11695508566325102384e-02,-4.86815838769374537031e-02,1.86547863130205431037e-02,1.21169550856632515789e-01,8.13452136869794589779e-02,1.48681583876937473132e-01,1);
INSERT INTO "flatselect_predictions" VALUES('f5027897cbbf4f379186e704d1c5dd04',7,1,'67073bd66c1949a8865ab4aeb1cc00a6',-0.0450768257833144,-1.15072297531843836804e-01,5.98449553928360536425e-02,2.28410159116647720756e-01,1.23488377940497273677e-01,2.98405630865177129429e-01,1);
INSERT INTO "flatselect_predictions" VALUES('f5027897cbbf4f379186e704d1c5dd04',7,2,'67073bd66c1949a8865ab4aeb1cc00a6',-4.35170116708070708888e-02,-1.09548024141609079418e-01,5.76444075370558806081e-02,2.18517011670807059786e-01,1.17355592462944108289e-01,2.84548024141609068315e-01,1);
INSERT INTO "flatselect_predictions" VALUES('f5027897cbbf4f379186e704d1c5dd04',7,3,'67073bd66c1949a8865ab4aeb1cc00a6',-3.79370079592361297837e-02,-9.59822675842316452854e-02,5.38413601561264706929e-02,1.96270341292569455715e-01,1.044919731772068483e-01,0.254315600917565,1);
INSERT INTO "flatselect_predictions" VALUES('f5027897cbbf4f379186e704d1c5dd04',8,1,'67073bd66c1949a8865ab4aeb1cc00a6',-8.19998080255844238872e-03,-7.96712844218701587983e-02,0.0603885343903167,7.48666474692251115996e-02,6.27813227634996251502e-03,1.46337951088536810662e-01,1);
CREATE TABLE flatselect_runs (
	uid TEXT NOT NULL, 
	study_uid TEXT NOT NULL, 
	started_at DATETIME NOT NULL, 
	heartbeat_at DATETIME NOT NULL, 
	ended_at DATETIME, 
	outcome TEXT, 
	host TEXT NOT NULL, 
	pid INTEGER NOT NULL, 
	backend TEXT NOT NULL, 
	versions JSON NOT NULL, 
	config JSON NOT NULL, 
	CONSTRAINT pk_flatselect_runs PRIMARY KEY (uid), 
	CONSTRAINT fk_flatselect_runs_study_uid FOREIGN KEY(study_uid) REFERENCES flatselect_studies (uid) ON DELETE CASCADE
);
INSERT INTO "flatselect_runs" VALUES('2c98997c269648e18875baa1f21fcff5','f5027897cbbf4f379186e704d1c5dd04','2026-11-22 12:06:41.099897','2026-11-22 12:06:48.251425','2026-11-22 12:06:48.251425','complete','machine',17567,'inline','{"python": "3.11.7", "flatselect": "0.1.0", "torch": "2.15.0", "torchvision": "0.29.2", "optuna": "5.0.0", "ray": "2.60.0", "scikit-learn": "1.9.1", "sqlalchemy": "2.1.9", "numpy": "2.4.6"}','{"study": {"name": "released", "storage": "sqlite:////studies/released.db", "checkpoints": "/studies/released-checkpoints", "trials": 10, "sampler": "random", "seed": 1, "objective": "predicted_test_score", "direction": "maximize", "max_failures_in_row": 5}, "data": {"train": "digits", "audit": "digits", "size": 120, "audit_size": 50, "download": false, "augmentation": "none", "loader_workers": 0}, "search_space": {"width": {"type": "int", "low": 4, "high": 8, "log": false, "step": 1, "when": {}}, "block": {"type": "categorical", "choices": ["plain", "residual"], "when": {}}, "learning_rate": {"type": "categorical", "choices": [0.05, 1e-06, 1e+30], "when": {}}, "momentum": {"type": "float", "low": 0.5, "high": 0.9, "log": false, "when": {}}}, "model": {"name": "cnn", "args": {}}, "training": {"epochs": 3, "batch_size": 64, "optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.9, "nesterov": false, "weight_decay": 0.0, "schedule": "cosine", "warmup_epochs": 0.0, "step_epochs": 10, "step_factor": 0.1, "label_smoothing": 0.0, "mixed_precision": true}, "measure": {"every": 1, "probe": 32, "batch_size": 256}, "calibration": {"trials": 4, "holdout": 0.2, "coverage": 0.9, "estimator": "ridge"}, "pruner": {"name": "median", "startup_trials": 1, "warmup_epochs": 1, "patience": 1, "margin": 0.0, "reference": "upper_quartile"}, "ray": {"backend": "inline", "cpus_per_trial": 1.0, "max_failures": 3, "dashboard": false}}');
CREATE TABLE flatselect_studies (
	uid TEXT NOT NULL, 
	name TEXT NOT NULL, 
	created_at DATETIME NOT NULL, 
	config JSON NOT NULL, 
	data JSON NOT NULL, 
	CONSTRAINT pk_flatselect_studies PRIMARY KEY (uid)
);
INSERT INTO "flatselect_studies" VALUES('f5027897cbbf4f379186e704d1c5dd04','released','2026-11-22 12:06:41.040992','{"study": {"name": "released", "storage": "sqlite:////studies/released.db", "checkpoints": "/studies/released-checkpoints", "trials": 10, "sampler": "random", "seed": 1, "objective": "predicted_test_score", "direction": "maximize", "max_failures_in_row": 5}, "data": {"train": "digits", "audit": "digits", "size": 120, "audit_size": 50, "download": false, "augmentation": "none", "loader_workers": 0}, "search_space": {"width": {"type": "int", "low": 4, "high": 8, "log": false, "step": 1, "when": {}}, "block": {"type": "categorical", "choices": ["plain", "residual"], "when": {}}, "learning_rate": {"type": "categorical", "choices": [0.05, 1e-06, 1e+30], "when": {}}, "momentum": {"type": "float", "low": 0.5, "high": 0.9, "log": false, "when": {}}}, "model": {"name": "cnn", "args": {}}, "training": {"epochs": 3, "batch_size": 64, "optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.9, "nesterov": false, "weight_decay": 0.0, "schedule": "cosine", "warmup_epochs": 0.0, "step_epochs": 10, "step_factor": 0.1, "label_smoothing": 0.0, "mixed_precision": true}, "measure": {"every": 1, "probe": 32, "batch_size": 256}, "calibration": {"trials": 4, "holdout": 0.2, "coverage": 0.9, "estimator": "ridge"}, "pruner": {"name": "median", "startup_trials": 1, "warmup_epochs": 1, "patience": 1, "margin": 0.0, "reference": "upper_quartile"}, "ray": {"backend": "inline", "cpus_per_trial": 1.0, "max_failures": 3, "dashboard": false}}','{"fingerprint": "986f14fbe4dce9d90add283bcecdaeb95cbc34704d1eaff160334b98407ec54f", "n_images": 120, "name": "digits", "class_names": ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"], "input_shape": [1, 8, 8], "mean": [0.29956290849673206], "std": [0.37210650692828706]}');
CREATE TABLE studies (
	study_id INTEGER NOT NULL, 
	study_name VARCHAR(512) NOT NULL, 
	PRIMARY KEY (study_id)
);
INSERT INTO "studies" VALUES(1,'released');
CREATE TABLE study_directions (
	study_direction_id INTEGER NOT NULL, 
	direction VARCHAR(8) NOT NULL, 
	study_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	PRIMARY KEY (study_direction_id), 
	UNIQUE (study_id, objective), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_directions" VALUES(1,'MAXIMIZE',1,0);
CREATE TABLE study_system_attributes (
	study_system_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_system_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
CREATE TABLE study_user_attributes (
	study_user_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_user_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_user_attributes" VALUES(1,1,'flatselect:uid','"f5027897cbbf4f379186e704d1c5dd04"');
CREATE TABLE trial_heartbeats (
	trial_heartbeat_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	heartbeat DATETIME NOT NULL, 
	PRIMARY KEY (trial_heartbeat_id), 
	UNIQUE (trial_id), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_intermediate_values (
	trial_intermediate_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	intermediate_value FLOAT, 
	intermediate_value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_intermediate_value_id), 
	UNIQUE (trial_id, step), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_intermediate_values" VALUES(1,1,1,8.33333333333333287074e-02,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(2,1,2,4.16666666666666643537e-02,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(3,1,3,8.33333333333333287074e-02,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(4,4,1,0.125,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(5,4,2,0.125,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(6,4,3,0.125,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(7,5,1,0.125,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(8,5,2,0.125,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(9,5,3,8.33333333333333287074e-02,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(10,6,1,8.33333333333333287074e-02,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(11,6,2,1.66666666666666657414e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(12,6,3,1.66666666666666657414e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(13,7,1,1.19704852388999333223e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(14,7,2,1.21169550856632515789e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(15,8,1,2.28410159116647720756e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(16,8,2,2.18517011670807059786e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(17,8,3,1.96270341292569455715e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(18,9,1,7.48666474692251115996e-02,'FINITE');
CREATE TABLE trial_params (
	param_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	param_name VARCHAR(512), 
	param_value FLOAT, 
	distribution_json TEXT, 
	PRIMARY KEY (param_id), 
	UNIQUE (trial_id, param_name), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_params" VALUES(1,1,'width',6.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 4, "high": 8}}');
INSERT INTO "trial_params" VALUES(2,1,'block',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["plain", "residual"]}}');
INSERT INTO "trial_params" VALUES(3,1,'learning_rate',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [0.05, 1e-06, 1e+30]}}');
INSERT INTO "trial_params" VALUES(4,1,'momentum',0.639674555745089,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.5, "high": 0.9, "log": false}}');
INSERT INTO "trial_params" VALUES(5,2,'width',8.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 4, "high": 8}}');
INSERT INTO "trial_params" VALUES(6,2,'block',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["plain", "residual"]}}');
INSERT INTO "trial_params" VALUES(7,2,'learning_rate',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [0.05, 1e-06, 1e+30]}}');
INSERT INTO "trial_params" VALUES(8,2,'momentum',8.43717548718360577097e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.5, "high": 0.9, "log": false}}');
INSERT INTO "trial_params" VALUES(9,3,'width',7.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 4, "high": 8}}');
INSERT INTO "trial_params" VALUES(10,3,'block',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["plain", "residual"]}}');
INSERT INTO "trial_params" VALUES(11,3,'learning_rate',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [0.05, 1e-06, 1e+30]}}');
INSERT INTO "trial_params" VALUES(12,3,'momentum',0.894096101936779,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.5, "high": 0.9, "log": false}}');
INSERT INTO "trial_params" VALUES(13,4,'width',6.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 4, "high": 8}}');
INSERT INTO "trial_params" VALUES(14,4,'block',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["plain", "residual"]}}');
INSERT INTO "trial_params" VALUES(15,4,'learning_rate',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [0.05, 1e-06, 1e+30]}}');
INSERT INTO "trial_params" VALUES(16,4,'momentum',5.08891888984120521755e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.5, "high": 0.9, "log": false}}');
INSERT INTO "trial_params" VALUES(17,5,'width',8.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 4, "high": 8}}');
INSERT INTO "trial_params" VALUES(18,5,'block',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["plain", "residual"]}}');
INSERT INTO "trial_params" VALUES(19,5,'learning_rate',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [0.05, 1e-06, 1e+30]}}');
INSERT INTO "trial_params" VALUES(20,5,'momentum',6.82689660850773871736e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.5, "high": 0.9, "log": false}}');
INSERT INTO "trial_params" VALUES(21,6,'width',4.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 4, "high": 8}}');
INSERT INTO "trial_params" VALUES(22,6,'block',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["plain", "residual"]}}');
INSERT INTO "trial_params" VALUES(23,6,'learning_rate',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [0.05, 1e-06, 1e+30]}}');
INSERT INTO "trial_params" VALUES(24,6,'momentum',6.44467501392133268467e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.5, "high": 0.9, "log": false}}');
INSERT INTO "trial_params" VALUES(25,7,'width',8.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 4, "high": 8}}');
INSERT INTO "trial_params" VALUES(26,7,'block',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["plain", "residual"]}}');
INSERT INTO "trial_params" VALUES(27,7,'learning_rate',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [0.05, 1e-06, 1e+30]}}');
INSERT INTO "trial_params" VALUES(28,7,'momentum',5.36147502852547419571e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.5, "high": 0.9, "log": false}}');
INSERT INTO "trial_params" VALUES(29,8,'width',6.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 4, "high": 8}}');
INSERT INTO "trial_params" VALUES(30,8,'block',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["plain", "residual"]}}');
INSERT INTO "trial_params" VALUES(31,8,'learning_rate',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [0.05, 1e-06, 1e+30]}}');
INSERT INTO "trial_params" VALUES(32,8,'momentum',7.43528197498702470014e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.5, "high": 0.9, "log": false}}');
INSERT INTO "trial_params" VALUES(33,9,'width',8.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 4, "high": 8}}');
INSERT INTO "trial_params" VALUES(34,9,'block',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["plain", "residual"]}}');
INSERT INTO "trial_params" VALUES(35,9,'learning_rate',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [0.05, 1e-06, 1e+30]}}');
INSERT INTO "trial_params" VALUES(36,9,'momentum',5.43320702015721579414e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.5, "high": 0.9, "log": false}}');
INSERT INTO "trial_params" VALUES(37,10,'width',4.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 4, "high": 8}}');
INSERT INTO "trial_params" VALUES(38,10,'block',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["plain", "residual"]}}');
INSERT INTO "trial_params" VALUES(39,10,'learning_rate',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [0.05, 1e-06, 1e+30]}}');
INSERT INTO "trial_params" VALUES(40,10,'momentum',6.73895458747676867616e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.5, "high": 0.9, "log": false}}');
CREATE TABLE trial_system_attributes (
	trial_system_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_system_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_user_attributes (
	trial_user_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_user_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_user_attributes" VALUES(1,1,'flatselect:is_calibration','true');
INSERT INTO "trial_user_attributes" VALUES(2,1,'flatselect:relative_gap_flatness','4.379949600685225');
INSERT INTO "trial_user_attributes" VALUES(3,2,'flatselect:is_calibration','true');
INSERT INTO "trial_user_attributes" VALUES(4,2,'flatselect:failure','"NonFiniteError: the training loss is nan in epoch 1 (learning_rate = 1e+30); a lower rate or gradient_clip may help"');
INSERT INTO "trial_user_attributes" VALUES(5,3,'flatselect:is_calibration','true');
INSERT INTO "trial_user_attributes" VALUES(6,3,'flatselect:failure','"NonFiniteError: the training loss is nan in epoch 1 (learning_rate = 1e+30); a lower rate or gradient_clip may help"');
INSERT INTO "trial_user_attributes" VALUES(7,4,'flatselect:is_calibration','true');
INSERT INTO "trial_user_attributes" VALUES(8,4,'flatselect:relative_gap_flatness','1.7473120736496508');
INSERT INTO "trial_user_attributes" VALUES(9,5,'flatselect:is_calibration','true');
INSERT INTO "trial_user_attributes" VALUES(10,5,'flatselect:relative_gap_flatness','3.5108283011338823');
INSERT INTO "trial_user_attributes" VALUES(11,6,'flatselect:is_calibration','true');
INSERT INTO "trial_user_attributes" VALUES(12,6,'flatselect:relative_gap_flatness','0.8098036578911061');
INSERT INTO "trial_user_attributes" VALUES(13,7,'flatselect:is_calibration','false');
INSERT INTO "trial_user_attributes" VALUES(14,7,'flatselect:predicted_test_score_interval','[0.08134521368697946, 0.14868158387693747]');
INSERT INTO "trial_user_attributes" VALUES(15,7,'flatselect:relative_gap_flatness','1.7643332446097186');
INSERT INTO "trial_user_attributes" VALUES(16,7,'flatselect:pruned_because','"MedianPruner"');
INSERT INTO "trial_user_attributes" VALUES(17,8,'flatselect:is_calibration','false');
INSERT INTO "trial_user_attributes" VALUES(18,8,'flatselect:predicted_test_score_interval','[0.10449197317720685, 0.254315600917565]');
INSERT INTO "trial_user_attributes" VALUES(19,8,'flatselect:relative_gap_flatness','1.2019126575792192');
INSERT INTO "trial_user_attributes" VALUES(20,9,'flatselect:is_calibration','false');
INSERT INTO "trial_user_attributes" VALUES(21,9,'flatselect:predicted_test_score_interval','[0.0062781322763499625, 0.1463379510885368]');
INSERT INTO "trial_user_attributes" VALUES(22,9,'flatselect:relative_gap_flatness','0.9359672943698378');
INSERT INTO "trial_user_attributes" VALUES(23,9,'flatselect:pruned_because','"MedianPruner"');
INSERT INTO "trial_user_attributes" VALUES(24,10,'flatselect:is_calibration','false');
INSERT INTO "trial_user_attributes" VALUES(25,10,'flatselect:failure','"NonFiniteError: the training loss is nan in epoch 1 (learning_rate = 1e+30); a lower rate or gradient_clip may help"');
CREATE TABLE trial_values (
	trial_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	value FLOAT, 
	value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_value_id), 
	UNIQUE (trial_id, objective), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_values" VALUES(1,1,0,8.33333333333333287074e-02,'FINITE');
INSERT INTO "trial_values" VALUES(2,4,0,0.125,'FINITE');
INSERT INTO "trial_values" VALUES(3,5,0,8.33333333333333287074e-02,'FINITE');
INSERT INTO "trial_values" VALUES(4,6,0,1.66666666666666657414e-01,'FINITE');
INSERT INTO "trial_values" VALUES(5,7,0,1.21169550856632515789e-01,'FINITE');
INSERT INTO "trial_values" VALUES(6,8,0,1.96270341292569455715e-01,'FINITE');
INSERT INTO "trial_values" VALUES(7,9,0,7.48666474692251115996e-02,'FINITE');
CREATE TABLE trials (
	trial_id INTEGER NOT NULL, 
	number INTEGER, 
	study_id INTEGER, 
	state VARCHAR(8) NOT NULL, 
	datetime_start DATETIME, 
	datetime_complete DATETIME, 
	PRIMARY KEY (trial_id), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "trials" VALUES(1,0,1,'COMPLETE','2026-11-22 12:06:41.107660','2026-11-22 12:06:44.547880');
INSERT INTO "trials" VALUES(2,1,1,'FAIL','2026-11-22 12:06:44.584987','2026-11-22 12:06:44.763639');
INSERT INTO "trials" VALUES(3,2,1,'FAIL','2026-11-22 12:06:44.803063','2026-11-22 12:06:44.993166');
INSERT INTO "trials" VALUES(4,3,1,'COMPLETE','2026-11-22 12:06:45.011227','2026-11-22 12:06:45.602489');
INSERT INTO "trials" VALUES(5,4,1,'COMPLETE','2026-11-22 12:06:45.648043','2026-11-22 12:06:46.212087');
INSERT INTO "trials" VALUES(6,5,1,'COMPLETE','2026-11-22 12:06:46.238175','2026-11-22 12:06:46.768378');
INSERT INTO "trials" VALUES(7,6,1,'PRUNED','2026-11-22 12:06:46.935277','2026-11-22 12:06:47.325488');
INSERT INTO "trials" VALUES(8,7,1,'COMPLETE','2026-11-22 12:06:47.343972','2026-11-22 12:06:47.791306');
INSERT INTO "trials" VALUES(9,8,1,'PRUNED','2026-11-22 12:06:47.816846','2026-11-22 12:06:48.087065');
INSERT INTO "trials" VALUES(10,9,1,'FAIL','2026-11-22 12:06:48.102800','2026-11-22 12:06:48.230383');
CREATE TABLE version_info (
	version_info_id INTEGER NOT NULL, 
	schema_version INTEGER, 
	library_version VARCHAR(256), 
	PRIMARY KEY (version_info_id), 
	CHECK (version_info_id=1)
);
INSERT INTO "version_info" VALUES(1,12,'5.0.0');
CREATE UNIQUE INDEX ix_studies_study_name ON studies (study_name);
CREATE INDEX ix_trials_study_id ON trials (study_id);
CREATE INDEX ix_flatselect_studies_name ON flatselect_studies (name);
CREATE INDEX ix_flatselect_calibrators_study_uid ON flatselect_calibrators (study_uid);
CREATE INDEX ix_flatselect_runs_study_uid ON flatselect_runs (study_uid);
CREATE INDEX ix_flatselect_predictions_calibrator_uid ON flatselect_predictions (calibrator_uid);
COMMIT;
