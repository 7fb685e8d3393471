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
INSERT INTO "flatselect_alembic_version" VALUES('0005');
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
INSERT INTO "flatselect_attempts" VALUES('ed26ed28123d468da71f9db7b14ea586',0,1,'4159e269324d48a3a59472982a7aeea0','2026-11-22 13:41:11.102752','2026-11-22 13:41:16.497970','complete',NULL,NULL,NULL,NULL,1,'{"model": "cnn", "model_args": {"width": 6, "block": "residual"}, "training": {"epochs": 3, "batch_size": 64, "optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.639674555745089, "nesterov": false, "weight_decay": 0.0, "schedule": "cosine", "warmup_epochs": 0.0, "step_epochs": 10, "step_factor": 0.1, "label_smoothing": 0.0, "gradient_clip": null, "target_train_loss": null, "mixed_precision": true, "compile": false, "flatness_penalty": 0.0, "flatness_penalty_images": 32}, "augmentation": "none"}','cnn 2×1 residual w6 k3 relu');
INSERT INTO "flatselect_attempts" VALUES('ed26ed28123d468da71f9db7b14ea586',1,1,'4159e269324d48a3a59472982a7aeea0','2026-11-22 13:41:16.504098','2026-11-22 13:41:16.549322','fail','NonFiniteError','the training loss is nan in epoch 1 (learning_rate = 1e+30); a lower rate or gradient_clip may help','',NULL,1,'{"model": "cnn", "model_args": {"width": 8, "block": "residual"}, "training": {"epochs": 3, "batch_size": 64, "optimizer": "sgd", "learning_rate": 1e+30, "momentum": 0.8437175487183606, "nesterov": false, "weight_decay": 0.0, "schedule": "cosine", "warmup_epochs": 0.0, "step_epochs": 10, "step_factor": 0.1, "label_smoothing": 0.0, "gradient_clip": null, "target_train_loss": null, "mixed_precision": true, "compile": false, "flatness_penalty": 0.0, "flatness_penalty_images": 32}, "augmentation": "none"}','cnn 2×1 residual w8 k3 relu');
INSERT INTO "flatselect_attempts" VALUES('ed26ed28123d468da71f9db7b14ea586',2,1,'4159e269324d48a3a59472982a7aeea0','2026-11-22 13:41:16.553379','2026-11-22 13:41:16.593595','fail','NonFiniteError','the training loss is nan in epoch 1 (learning_rate = 1e+30); a lower rate or gradient_clip may help','',NULL,1,'{"model": "cnn", "model_args": {"width": 7, "block": "residual"}, "training": {"epochs": 3, "batch_size": 64, "optimizer": "sgd", "learning_rate": 1e+30, "momentum": 0.894096101936779, "nesterov": false, "weight_decay": 0.0, "schedule": "cosine", "warmup_epochs": 0.0, "step_epochs": 10, "step_factor": 0.1, "label_smoothing": 0.0, "gradient_clip": null, "target_train_loss": null, "mixed_precision": true, "compile": false, "flatness_penalty": 0.0, "flatness_penalty_images": 32}, "augmentation": "none"}','cnn 2×1 residual w7 k3 relu');
INSERT INTO "flatselect_attempts" VALUES('ed26ed28123d468da71f9db7b14ea586',3,1,'4159e269324d48a3a59472982a7aeea0','2026-11-22 13:41:16.597962','2026-11-22 13:41:16.731257','complete',NULL,NULL,NULL,NULL,1,'{"model": "cnn", "model_args": {"width": 6, "block": "residual"}, "training": {"epochs": 3, "batch_size": 64, "optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.5088918889841205, "nesterov": false, "weight_decay": 0.0, "schedule": "cosine", "warmup_epochs": 0.0, "step_epochs": 10, "step_factor": 0.1, "label_smoothing": 0.0, "gradient_clip": null, "target_train_loss": null, "mixed_precision": true, "compile": false, "flatness_penalty": 0.0, "flatness_penalty_images": 32}, "augmentation": "none"}','cnn 2×1 residual w6 k3 relu');
INSERT INTO "flatselect_attempts" VALUES('ed26ed28123d468da71f9db7b14ea586',4,1,'4159e269324d48a3a59472982a7aeea0','2026-11-22 13:41:16.735129','2026-11-22 13:41:16.876872','complete',NULL,NULL,NULL,NULL,1,'{"model": "cnn", "model_args": {"width": 8, "block": "residual"}, "training": {"epochs": 3, "batch_size": 64, "optimizer": "sgd", "learning_rate": 1e-06, "momentum": 0.6826896608507739, "nesterov": false, "weight_decay": 0.0, "schedule": "cosine", "warmup_epochs": 0.0, "step_epochs": 10, "step_factor": 0.1, "label_smoothing": 0.0, "gradient_clip": null, "target_train_loss": null, "mixed_precision": true, "compile": false, "flatness_penalty": 0.0, "flatness_penalty_images": 32}, "augmentation": "none"}','cnn 2×1 residual w8 k3 relu');
INSERT INTO "flatselect_attempts" VALUES('ed26ed28123d468da71f9db7b14ea586',5,1,'4159e269324d48a3a59472982a7aeea0','2026-11-22 13:41:16.883001','2026-11-22 13:41:17.029524','complete',NULL,NULL,NULL,NULL,1,'{"model": "cnn", "model_args": {"width": 4, "block": "residual"}, "training": {"epochs": 3, "batch_size": 64, "optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.6444675013921333, "nesterov": false, "weight_decay": 0.0, "schedule": "cosine", "warmup_epochs": 0.0, "step_epochs": 10, "step_factor": 0.1, "label_smoothing": 0.0, "gradient_clip": null, "target_train_loss": null, "mixed_precision": true, "compile": false, "flatness_penalty": 0.0, "flatness_penalty_images": 32}, "augmentation": "none"}','cnn 2×1 residual w4 k3 relu');
INSERT INTO "flatselect_attempts" VALUES('ed26ed28123d468da71f9db7b14ea586',6,1,'4159e269324d48a3a59472982a7aeea0','2026-11-22 13:41:17.077910','2026-11-22 13:41:17.205737','pruned',NULL,NULL,NULL,'epoch 2: upper bound 0.1599 of its predicted final value < 0.1667, the best of the 4 finished trials (trial 5)',0,'{"model": "cnn", "model_args": {"width": 8, "block": "plain"}, "training": {"epochs": 3, "batch_size": 64, "optimizer": "sgd", "learning_rate": 1e-06, "momentum": 0.5361475028525474, "nesterov": false, "weight_decay": 0.0, "schedule": "cosine", "warmup_epochs": 0.0, "step_epochs": 10, "step_factor": 0.1, "label_smoothing": 0.0, "gradient_clip": null, "target_train_loss": null, "mixed_precision": true, "compile": false, "flatness_penalty": 0.0, "flatness_penalty_images": 32}, "augmentation": "none"}','cnn 2×1 plain w8 k3 relu');
INSERT INTO "flatselect_attempts" VALUES('ed26ed28123d468da71f9db7b14ea586',7,1,'4159e269324d48a3a59472982a7aeea0','2026-11-22 13:41:17.209405','2026-11-22 13:41:17.310742','complete',NULL,NULL,NULL,NULL,0,'{"model": "cnn", "model_args": {"width": 6, "block": "plain"}, "training": {"epochs": 3, "batch_size": 64, "optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.7435281974987025, "nesterov": false, "weight_decay": 0.0, "schedule": "cosine", "warmup_epochs": 0.0, "step_epochs": 10, "step_factor": 0.1, "label_smoothing": 0.0, "gradient_clip": null, "target_train_loss": null, "mixed_precision": true, "compile": false, "flatness_penalty": 0.0, "flatness_penalty_images": 32}, "augmentation": "none"}','cnn 2×1 plain w6 k3 relu');
INSERT INTO "flatselect_attempts" VALUES('ed26ed28123d468da71f9db7b14ea586',8,1,'4159e269324d48a3a59472982a7aeea0','2026-11-22 13:41:17.315287','2026-11-22 13:41:17.382762','pruned',NULL,NULL,NULL,'epoch 2: upper bound 0.2208 of its predicted final value < 0.352, the best of the 5 finished trials (trial 7)',0,'{"model": "cnn", "model_args": {"width": 8, "block": "plain"}, "training": {"epochs": 3, "batch_size": 64, "optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.5433207020157216, "nesterov": false, "weight_decay": 0.0, "schedule": "cosine", "warmup_epochs": 0.0, "step_epochs": 10, "step_factor": 0.1, "label_smoothing": 0.0, "gradient_clip": null, "target_train_loss": null, "mixed_precision": true, "compile": false, "flatness_penalty": 0.0, "flatness_penalty_images": 32}, "augmentation": "none"}','cnn 2×1 plain w8 k3 relu');
INSERT INTO "flatselect_attempts" VALUES('ed26ed28123d468da71f9db7b14ea586',9,1,'4159e269324d48a3a59472982a7aeea0','2026-11-22 13:41:17.385805','2026-11-22 13:41:17.407975','fail','NonFiniteError','the training loss is nan in epoch 1 (learning_rate = 1e+30); a lower rate or gradient_clip may help','',NULL,0,'{"model": "cnn", "model_args": {"width": 4, "block": "plain"}, "training": {"epochs": 3, "batch_size": 64, "optimizer": "sgd", "learning_rate": 1e+30, "momentum": 0.6738954587476769, "nesterov": false, "weight_decay": 0.0, "schedule": "cosine", "warmup_epochs": 0.0, "step_epochs": 10, "step_factor": 0.1, "label_smoothing": 0.0, "gradient_clip": null, "target_train_loss": null, "mixed_precision": true, "compile": false, "flatness_penalty": 0.0, "flatness_penalty_images": 32}, "augmentation": "none"}','cnn 2×1 plain w4 k3 relu');
CREATE TABLE flatselect_audits (
	study_uid TEXT NOT NULL, 
	trial_number INTEGER NOT NULL, 
	score DOUBLE NOT NULL, 
	loss DOUBLE, 
	n_images INTEGER NOT NULL, 
	audited_at DATETIME NOT NULL, data_fingerprint TEXT, 
	CONSTRAINT pk_flatselect_audits PRIMARY KEY (study_uid, trial_number), 
	CONSTRAINT fk_flatselect_audits_study_uid FOREIGN KEY(study_uid) REFERENCES flatselect_studies (uid) ON DELETE CASCADE
);
INSERT INTO "flatselect_audits" VALUES('ed26ed28123d468da71f9db7b14ea586',0,0.06,2.34222091674804699934e+00,50,'2026-11-22 13:41:17.430090','0a5f8b002a26ea3a4bf18ee3ba53249edc6dcd737886ced7dababc81a247a7a1');
INSERT INTO "flatselect_audits" VALUES('ed26ed28123d468da71f9db7b14ea586',3,0.1,2.36645278930664071381e+00,50,'2026-11-22 13:41:17.442925','0a5f8b002a26ea3a4bf18ee3ba53249edc6dcd737886ced7dababc81a247a7a1');
INSERT INTO "flatselect_audits" VALUES('ed26ed28123d468da71f9db7b14ea586',4,0.1,2.32787887573242180394e+00,50,'2026-11-22 13:41:17.455541','0a5f8b002a26ea3a4bf18ee3ba53249edc6dcd737886ced7dababc81a247a7a1');
INSERT INTO "flatselect_audits" VALUES('ed26ed28123d468da71f9db7b14ea586',5,0.2,2.30281661987304708816e+00,50,'2026-11-22 13:41:17.466888','0a5f8b002a26ea3a4bf18ee3ba53249edc6dcd737886ced7dababc81a247a7a1');
INSERT INTO "flatselect_audits" VALUES('ed26ed28123d468da71f9db7b14ea586',6,0.1,2.31153930664062512434e+00,50,'2026-11-22 13:41:17.474374','0a5f8b002a26ea3a4bf18ee3ba53249edc6dcd737886ced7dababc81a247a7a1');
INSERT INTO "flatselect_audits" VALUES('ed26ed28123d468da71f9db7b14ea586',7,0.06,2.31307464599609380329e+00,50,'2026-11-22 13:41:17.481803','0a5f8b002a26ea3a4bf18ee3ba53249edc6dcd737886ced7dababc81a247a7a1');
INSERT INTO "flatselect_audits" VALUES('ed26ed28123d468da71f9db7b14ea586',8,0.08,2.3001341247558593217e+00,50,'2026-11-22 13:41:17.489197','0a5f8b002a26ea3a4bf18ee3ba53249edc6dcd737886ced7dababc81a247a7a1');
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
INSERT INTO "flatselect_calibrators" VALUES(1,'a63af3c153ea9f9fc1665bec92308757','ed26ed28123d468da71f9db7b14ea586','2026-11-22 13:41:17.056254','{"schema": "flatselect.gap_predictor", "schema_version": 1, "specification": {"estimator": "ridge", "coverage": 0.9}, "features": {"log_relative_gap_flatness": "log10 of the mean relative GAP flatness κ of the probe images", "log_temperature_flat_ratio": "log10 of κ / (mean gini · mean logit variance)", "log_train_loss": "log10 of the mean cross-entropy (nats) on the training images", "train_score": "accuracy on the training images", "train_score_power_8": "its 8th power: the gap opens as a network nears 1 and begins to memorise", "mean_confidence": "mean of the largest class probability", "confidence_q10": "10 % quantile of the largest class probability", "log_gini": "log10 of the mean of 1 - sum of squared class probabilities", "log_logit_variance": "log10 of the mean variance of an image''s logits", "margin_q10": "10 % quantile of the two largest logits'' difference", "margin_q50": "median of the two largest logits'' difference", "log_head_frobenius_norm": "log10 of the Frobenius norm of the linear classifier''s weight", "log_feature_norm": "log10 of the mean norm of the pooled features", "log_n_train_images": "log10 of the number of images trained on", "log_n_parameters": "log10 of the number of trainable parameters", "log_n_classes": "log10 of the number of classes", "relative_margin_q10": "margin_q10 / standard deviation of an image''s logits", "relative_margin_q50": "margin_q50 / standard deviation of an image''s logits", "log_davies_bouldin": "log10 of the Davies-Bouldin index of the pooled features by label", "log_head_soft_rank": "log10 of the soft rank of the classifier''s curvature", "log_head_tic": "log10 of Takeuchi''s penalty of the classifier", "log_last_linear_ratio": "log10 of last_linear_flatness_normalized / (mean gini · mean logit variance)", "augmentation_agreement": "share of predictions that stay when images are turned, scaled and moved", "augmentation_accuracy": "accuracy on training images turned, scaled and moved", "log_augmentation_loss": "log10 of the cross-entropy (nats) on training images turned, scaled and moved", "mixup_agreement": "share of predictions that stay when images are mixed with another, in shares 0.6 to 1", "mixup_accuracy": "accuracy on training images mixed with another, of the larger share''s label", "log_mixup_loss": "log10 of the cross-entropy (nats) on mixed training images, labels mixed alike", "noise_agreement": "share of predictions that stay under Gaussian noise of 0.25 standard deviations", "noise_accuracy": "accuracy on training images under Gaussian noise of 0.25 standard deviations", "log_noise_loss": "log10 of the cross-entropy (nats) under Gaussian noise of 0.25 standard deviations", "unlabeled_confidence": "mean of the largest class probability on unlabelled images", "log_unlabeled_gini": "log10 of the mean gini on unlabelled images", "unlabeled_nuclear_norm": "nuclear norm of the class probabilities of unlabelled images, at most 1", "unlabeled_threshold_score": "share of unlabelled images surer than the least sure training images (ATC)", "unlabeled_agreement": "mean share of unlabelled images on which another candidate predicts the same class", "unlabeled_agreement_lead": "unlabeled_agreement less its mean over all candidates"}, "metadata": {"sources": [{"kind": "study", "name": "released", "uid": "ed26ed28123d468da71f9db7b14ea586", "data_fingerprint": "986f14fbe4dce9d90add283bcecdaeb95cbc34704d1eaff160334b98407ec54f", "n_rows": 12, "n_groups": 4}]}, "rows": [{"group": "0", "epoch": 1, "features": {"log_relative_gap_flatness": 0.9250597006776132, "log_temperature_flat_ratio": 1.6118072709827331, "log_train_loss": 0.3790078804097141, "train_score": 0.08333333333333333, "train_score_power_8": 2.325680393613777e-09, "mean_confidence": 0.16694269068394638, "confidence_q10": 0.15384883240754219, "log_gini": -0.055103149863840434, "log_logit_variance": -0.6316444204412793, "margin_q10": 0.0051004916429519655, "margin_q50": 0.039062559604644775, "log_head_frobenius_norm": 0.27357222438015, "log_feature_norm": 0.5261131393151484, "log_n_train_images": 1.9822712330395684, "log_n_parameters": 3.470704429722788, "log_n_classes": 1.0, "relative_margin_q10": 0.010554417038677277, "relative_margin_q50": 0.08083192239620973, "log_davies_bouldin": null, "log_head_soft_rank": null, "log_head_tic": null, "log_last_linear_ratio": null, "augmentation_agreement": null, "augmentation_accuracy": null, "log_augmentation_loss": null, "mixup_agreement": null, "mixup_accuracy": null, "log_mixup_loss": null, "noise_agreement": null, "noise_accuracy": null, "log_noise_loss": null, "unlabeled_confidence": null, "log_unlabeled_gini": null, "unlabeled_nuclear_norm": null, "unlabeled_threshold_score": null, "unlabeled_agreement": null, "unlabeled_agreement_lead": null}, "test_gap": 0.0}, {"group": "0", "epoch": 2, "features": {"log_relative_gap_flatness": 0.7628068295369439, "log_temperature_flat_ratio": 1.6504518733734521, "log_train_loss": 0.3710200208985921, "train_score": 0.07291666666666667, "train_score_power_8": 7.991245185604757e-10, "mean_confidence": 0.15295621850049892, "confidence_q10": 0.14169962682950943, "log_gini": -0.05168692536893987, "log_logit_variance": -0.8359581184675683, "margin_q10": 0.01960591971874237, "margin_q50": 0.048864349722862244, "log_head_frobenius_norm": 0.2723903506594468, "log_feature_norm": 0.4433247111115307, "log_n_train_images": 1.9822712330395684, "log_n_parameters": 3.470704429722788, "log_n_classes": 1.0, "relative_margin_q10": 0.05132941081224763, "relative_margin_q50": 0.12792964150518427, "log_davies_bouldin": null, "log_head_soft_rank": null, "log_head_tic": null, "log_last_linear_ratio": null, "augmentation_agreement": null, "augmentation_accuracy": null, "log_augmentation_loss": null, "mixup_agreement": null, "mixup_accuracy": null, "log_mixup_loss": null, "noise_agreement": null, "noise_accuracy": null, "log_noise_loss": null, "unlabeled_confidence": null, "log_unlabeled_gini": null, "unlabeled_nuclear_norm": null, "unlabeled_threshold_score": null, "unlabeled_agreement": null, "unlabeled_agreement_lead": null}, "test_gap": 0.03125000000000001}, {"group": "0", "epoch": 3, "features": {"log_relative_gap_flatness": 0.6414691152745513, "log_temperature_flat_ratio": 1.6736048262540408, "log_train_loss": 0.3673786295738722, "train_score": 0.08333333333333333, "train_score_power_8": 2.325680393613777e-09, "mean_confidence": 0.1444836153583655, "confidence_q10": 0.13307718503062965, "log_gini": -0.050008092753801955, "log_logit_variance": -0.9821276182256877, "margin_q10": 0.014698101580142975, "margin_q50": 0.055246978998184204, "log_head_frobenius_norm": 0.27205854866834467, "log_feature_norm": 0.3804872752935897, "log_n_train_images": 1.9822712330395684, "log_n_parameters": 3.470704429722788, "log_n_classes": 1.0, "relative_margin_q10": 0.04553287296362807, "relative_margin_q50": 0.1711482032310243, "log_davies_bouldin": null, "log_head_soft_rank": null, "log_head_tic": null, "log_last_linear_ratio": null, "augmentation_agreement": null, "augmentation_accuracy": null, "log_augmentation_loss": null, "mixup_agreement": null, "mixup_accuracy": null, "log_mixup_loss": null, "noise_agreement": null, "noise_accuracy": null, "log_noise_loss": null, "unlabeled_confidence": null, "log_unlabeled_gini": null, "unlabeled_nuclear_norm": null, "unlabeled_threshold_score": null, "unlabeled_agreement": null, "unlabeled_agreement_lead": null}, "test_gap": 0.0}, {"group": "3", "epoch": 1, "features": {"log_relative_gap_flatness": 0.42061764273150654, "log_temperature_flat_ratio": 0.9827006901150884, "log_train_loss": 0.3900144783332879, "train_score": 0.09375, "train_score_power_8": 5.967194738332182e-09, "mean_confidence": 0.284167973072624, "confidence_q10": 0.2474987835146263, "log_gini": -0.0686201190920686, "log_logit_variance": -0.4934629282915133, "margin_q10": 0.5949710220098495, "margin_q50": 0.7271829396486282, "log_head_frobenius_norm": 0.2660393753373579, "log_feature_norm": 0.47564646012918943, "log_n_train_images": 1.9822712330395684, "log_n_parameters": 3.470704429722788, "log_n_classes": 1.0, "relative_margin_q10": 1.050091826534183, "relative_margin_q50": 1.2834387441939705, "log_davies_bouldin": null, "log_head_soft_rank": null, "log_head_tic": null, "log_last_linear_ratio": null, "augmentation_agreement": null, "augmentation_accuracy": null, "log_augmentation_loss": null, "mixup_agreement": null, "mixup_accuracy": null, "log_mixup_loss": null, "noise_agreement": null, "noise_accuracy": null, "log_noise_loss": null, "unlabeled_confidence": null, "log_unlabeled_gini": null, "unlabeled_nuclear_norm": null, "unlabeled_threshold_score": null, "unlabeled_agreement": null, "unlabeled_agreement_lead": null}, "test_gap": -0.03125}, {"group": "3", "epoch": 2, "features": {"log_relative_gap_flatness": 0.30757301513159296, "log_temperature_flat_ratio": 1.1017000617225532, "log_train_loss": 0.37502129798429606, "train_score": 0.09375, "train_score_power_8": 5.967194738332182e-09, "mean_confidence": 0.22390549795355877, "confidence_q10": 0.1921823754827549, "log_gini": -0.05691472282962734, "log_logit_variance": -0.7372123237613328, "margin_q10": 0.42707115709781646, "margin_q50": 0.5483881123363972, "log_head_frobenius_norm": 0.2644093682302466, "log_feature_norm": 0.3673021630633829, "log_n_train_images": 1.9822712330395684, "log_n_parameters": 3.470704429722788, "log_n_classes": 1.0, "relative_margin_q10": 0.9979445335226618, "relative_margin_q50": 1.2814279537720554, "log_davies_bouldin": null, "log_head_soft_rank": null, "log_head_tic": null, "log_last_linear_ratio": null, "augmentation_agreement": null, "augmentation_accuracy": null, "log_augmentation_loss": null, "mixup_agreement": null, "mixup_accuracy": null, "log_mixup_loss": null, "noise_agreement": null, "noise_accuracy": null, "log_noise_loss": null, "unlabeled_confidence": null, "log_unlabeled_gini": null, "unlabeled_nuclear_norm": null, "unlabeled_threshold_score": null, "unlabeled_agreement": null, "unlabeled_agreement_lead": null}, "test_gap": -0.03125}, {"group": "3", "epoch": 3, "features": {"log_relative_gap_flatness": 0.24237047662066882, "log_temperature_flat_ratio": 1.1894961227749041, "log_train_loss": 0.3690949792247046, "train_score": 0.09375, "train_score_power_8": 5.967194738332182e-09, "mean_confidence": 0.19527868293366657, "confidence_q10": 0.1634062253466836, "log_gini": -0.052847381454555926, "log_logit_variance": -0.8942782646996792, "margin_q10": 0.34096757471561434, "margin_q50": 0.45300501585006714, "log_head_frobenius_norm": 0.26416649272199055, "log_feature_norm": 0.288079483413429, "log_n_train_images": 1.9822712330395684, "log_n_parameters": 3.470704429722788, "log_n_classes": 1.0, "relative_margin_q10": 0.9546676644679667, "relative_margin_q50": 1.2683588485930397, "log_davies_bouldin": null, "log_head_soft_rank": null, "log_head_tic": null, "log_last_linear_ratio": null, "augmentation_agreement": null, "augmentation_accuracy": null, "log_augmentation_loss": null, "mixup_agreement": null, "mixup_accuracy": null, "log_mixup_loss": null, "noise_agreement": null, "noise_accuracy": null, "log_noise_loss": null, "unlabeled_confidence": null, "log_unlabeled_gini": null, "unlabeled_nuclear_norm": null, "unlabeled_threshold_score": null, "unlabeled_agreement": null, "unlabeled_agreement_lead": null}, "test_gap": -0.03125}, {"group": "4", "epoch": 1, "features": {"log_relative_gap_flatness": 0.7645285410071814, "log_temperature_flat_ratio": 1.9832107957820728, "log_train_loss": 0.3709748361308373, "train_score": 0.09375, "train_score_power_8": 5.967194738332182e-09, "mean_confidence": 0.15741397520670744, "confidence_q10": 0.14350091024319236, "log_gini": -0.04910398666271104, "log_logit_variance": -1.1695782681121805, "margin_q10": 0.14786596447229386, "margin_q50": 0.2445620521903038, "log_head_frobenius_norm": 0.2796211021740506, "log_feature_norm": 0.37356715872993085, "log_n_train_images": 1.9822712330395684, "log_n_parameters": 3.709439574132411, "log_n_classes": 1.0, "relative_margin_q10": 0.5684042995993546, "relative_margin_q50": 0.94010898640476, "log_davies_bouldin": null, "log_head_soft_rank": null, "log_head_tic": null, "log_last_linear_ratio": null, "augmentation_agreement": null, "augmentation_accuracy": null, "log_augmentation_loss": null, "mixup_agreement": null, "mixup_accuracy": null, "log_mixup_loss": null, "noise_agreement": null, "noise_accuracy": null, "log_noise_loss": null, "unlabeled_confidence": null, "log_unlabeled_gini": null, "unlabeled_nuclear_norm": null, "unlabeled_threshold_score": null, "unlabeled_agreement": null, "unlabeled_agreement_lead": null}, "test_gap": -0.03125}, {"group": "4", "epoch": 2, "features": {"log_relative_gap_flatness": 0.6273321100799044, "log_temperature_flat_ratio": 2.0013003488241674, "log_train_loss": 0.36842971618638554, "train_score": 0.10416666666666667, "train_score_power_8": 1.3862135372243996e-08, "mean_confidence": 0.14443292248061043, "confidence_q10": 0.13263874436072487, "log_gini": -0.04798146817463281, "log_logit_variance": -1.32598677056963, "margin_q10": 0.10698351114988328, "margin_q50": 0.20054695010185242, "log_head_frobenius_norm": 0.2796210731715965, "log_feature_norm": 0.31223205045445596, "log_n_train_images": 1.9822712330395684, "log_n_parameters": 3.709439574132411, "log_n_classes": 1.0, "relative_margin_q10": 0.49239114307615606, "relative_margin_q50": 0.9230164624410505, "log_davies_bouldin": null, "log_head_soft_rank": null, "log_head_tic": null, "log_last_linear_ratio": null, "augmentation_agreement": null, "augmentation_accuracy": null, "log_augmentation_loss": null, "mixup_agreement": null, "mixup_accuracy": null, "log_mixup_loss": null, "noise_agreement": null, "noise_accuracy": null, "log_noise_loss": null, "unlabeled_confidence": null, "log_unlabeled_gini": null, "unlabeled_nuclear_norm": null, "unlabeled_threshold_score": null, "unlabeled_agreement": null, "unlabeled_agreement_lead": null}, "test_gap": -0.02083333333333333}, {"group": "4", "epoch": 3, "features": {"log_relative_gap_flatness": 0.5454095908597224, "log_temperature_flat_ratio": 2.0138421032134755, "log_train_loss": 0.3670455790965483, "train_score": 0.10416666666666667, "train_score_power_8": 1.3862135372243996e-08, "mean_confidence": 0.13582197795766932, "confidence_q10": 0.1246914685275426, "log_gini": -0.047474640836490827, "log_logit_variance": -1.4209578715172624, "margin_q10": 0.05882956236600876, "margin_q50": 0.1490461751818657, "log_head_frobenius_norm": 0.2796210662958763, "log_feature_norm": 0.2732716387707984, "log_n_train_images": 1.9822712330395684, "log_n_parameters": 3.709439574132411, "log_n_classes": 1.0, "relative_margin_q10": 0.30204701868107714, "relative_margin_q50": 0.7652437150460882, "log_davies_bouldin": null, "log_head_soft_rank": null, "log_head_tic": null, "log_last_linear_ratio": null, "augmentation_agreement": null, "augmentation_accuracy": null, "log_augmentation_loss": null, "mixup_agreement": null, "mixup_accuracy": null, "log_mixup_loss": null, "noise_agreement": null, "noise_accuracy": null, "log_noise_loss": null, "unlabeled_confidence": null, "log_unlabeled_gini": null, "unlabeled_nuclear_norm": null, "unlabeled_threshold_score": null, "unlabeled_agreement": null, "unlabeled_agreement_lead": null}, "test_gap": 0.020833333333333343}, {"group": "5", "epoch": 1, "features": {"log_relative_gap_flatness": 0.10702370946703785, "log_temperature_flat_ratio": 1.2701927447172645, "log_train_loss": 0.37069060489547034, "train_score": 0.10416666666666667, "train_score_power_8": 1.3862135372243996e-08, "mean_confidence": 0.1449968366502979, "confidence_q10": 0.13700483266908453, "log_gini": -0.049293901423339025, "log_logit_variance": -1.1138751338268875, "margin_q10": 0.01852715015411377, "margin_q50": 0.06644636392593384, "log_head_frobenius_norm": 0.25122905135291423, "log_feature_norm": 0.2372206034661407, "log_n_train_images": 1.9822712330395684, "log_n_parameters": 3.1405080430381798, "log_n_classes": 1.0, "relative_margin_q10": 0.06679534359481523, "relative_margin_q50": 0.23955695679798894, "log_davies_bouldin": null, "log_head_soft_rank": null, "log_head_tic": null, "log_last_linear_ratio": null, "augmentation_agreement": null, "augmentation_accuracy": null, "log_augmentation_loss": null, "mixup_agreement": null, "mixup_accuracy": null, "log_mixup_loss": null, "noise_agreement": null, "noise_accuracy": null, "log_noise_loss": null, "unlabeled_confidence": null, "log_unlabeled_gini": null, "unlabeled_nuclear_norm": null, "unlabeled_threshold_score": null, "unlabeled_agreement": null, "unlabeled_agreement_lead": null}, "test_gap": 0.020833333333333343}, {"group": "5", "epoch": 2, "features": {"log_relative_gap_flatness": -0.032376703498534304, "log_temperature_flat_ratio": 1.336177816309754, "log_train_loss": 0.36728624981635044, "train_score": 0.11458333333333333, "train_score_power_8": 2.9714718266647392e-08, "mean_confidence": 0.13427456722060838, "confidence_q10": 0.12621192267953815, "log_gini": -0.04797707128890333, "log_logit_variance": -1.3205774485193849, "margin_q10": 0.0059235900640487674, "margin_q50": 0.05137406289577484, "log_head_frobenius_norm": 0.24895423846485568, "log_feature_norm": 0.1509012053018053, "log_n_train_images": 1.9822712330395684, "log_n_parameters": 3.1405080430381798, "log_n_classes": 1.0, "relative_margin_q10": 0.02709403704358027, "relative_margin_q50": 0.23498094029585212, "log_davies_bouldin": null, "log_head_soft_rank": null, "log_head_tic": null, "log_last_linear_ratio": null, "augmentation_agreement": null, "augmentation_accuracy": null, "log_augmentation_loss": null, "mixup_agreement": null, "mixup_accuracy": null, "log_mixup_loss": null, "noise_agreement": null, "noise_accuracy": null, "log_noise_loss": null, "unlabeled_confidence": null, "log_unlabeled_gini": null, "unlabeled_nuclear_norm": null, "unlabeled_threshold_score": null, "unlabeled_agreement": null, "unlabeled_agreement_lead": null}, "test_gap": -0.05208333333333333}, {"group": "5", "epoch": 3, "features": {"log_relative_gap_flatness": -0.09162026755265115, "log_temperature_flat_ratio": 1.387573781335431, "log_train_loss": 0.3660209111058598, "train_score": 0.125, "train_score_power_8": 5.960464477539063e-08, "mean_confidence": 0.1297584708496236, "confidence_q10": 0.12110336476537266, "log_gini": -0.04748682253992361, "log_logit_variance": -1.4317072263481587, "margin_q10": 0.0025038406252861026, "margin_q50": 0.035577863454818726, "log_head_frobenius_norm": 0.248427335575981, "log_feature_norm": 0.0894439649489937, "log_n_train_images": 1.9822712330395684, "log_n_parameters": 3.1405080430381798, "log_n_classes": 1.0, "relative_margin_q10": 0.013015483167124501, "relative_margin_q50": 0.18494111735467786, "log_davies_bouldin": null, "log_head_soft_rank": null, "log_head_tic": null, "log_last_linear_ratio": null, "augmentation_agreement": null, "augmentation_accuracy": null, "log_augmentation_loss": null, "mixup_agreement": null, "mixup_accuracy": null, "log_mixup_loss": null, "noise_agreement": null, "noise_accuracy": null, "log_noise_loss": null, "unlabeled_confidence": null, "log_unlabeled_gini": null, "unlabeled_nuclear_norm": null, "unlabeled_threshold_score": null, "unlabeled_agreement": null, "unlabeled_agreement_lead": null}, "test_gap": -0.04166666666666666}]}','{"estimator": "ridge", "estimator_choice": {"name": "ridge", "scores": {}, "reason": "asked for"}, "coverage": 0.9, "n_rows": 12, "n_groups": 4, "features": ["log_relative_gap_flatness", "log_temperature_flat_ratio", "log_train_loss", "train_score", "train_score_power_8", "mean_confidence", "confidence_q10", "log_gini", "log_logit_variance", "margin_q10", "margin_q50", "log_head_frobenius_norm", "log_feature_norm", "log_n_parameters", "relative_margin_q10", "relative_margin_q50"], "hyper_parameters": {"name": "ridge", "penalty": 0.31622776601683794}, "cross_validated": {"mae": 0.0227925495464157, "r2": -0.48593307162884525, "spearman": 0.4665706743450368, "kendall": 0.3341054755153317, "coverage": 0.9166666666666667, "interval_width": 0.156858606244759, "reliability": [{"nominal": 0.5, "observed": 0.75}, {"nominal": 0.6, "observed": 0.8333333333333334}, {"nominal": 0.7, "observed": 0.9166666666666667}, {"nominal": 0.8, "observed": 0.9166666666666667}, {"nominal": 0.9, "observed": 0.9166666666666667}, {"nominal": 0.95, "observed": 0.9166666666666667}]}, "flatness_lift": {"mae": 0.0227925495464157, "mae_without_flatness": 0.022729385974899943, "lift": -6.316357151575636e-05, "p_value": 0.5625, "n_groups": 4, "features": ["log_relative_gap_flatness", "log_temperature_flat_ratio"]}}',12);
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
INSERT INTO "flatselect_checkpoints" VALUES('ed26ed28123d468da71f9db7b14ea586',0,3,'/studies/released-checkpoints/ed26ed28/trial-00000.pt','4f7b4a41ef9af9f0bb8a969616b21a4e35e08249220f49d37956d9e0bc469f45',43893);
INSERT INTO "flatselect_checkpoints" VALUES('ed26ed28123d468da71f9db7b14ea586',3,3,'/studies/released-checkpoints/ed26ed28/trial-00003.pt','56ecb4530b4891938eb210a21cf61dd28b7abbfcd743d7641cb29a78a89094ab',43893);
INSERT INTO "flatselect_checkpoints" VALUES('ed26ed28123d468da71f9db7b14ea586',4,3,'/studies/released-checkpoints/ed26ed28/trial-00004.pt','47bc54b17741baa31bd3bcfe9ea8e0a5976104b4f07d389d6a9e8b73a8cc1081',62261);
INSERT INTO "flatselect_checkpoints" VALUES('ed26ed28123d468da71f9db7b14ea586',5,3,'/studies/released-checkpoints/ed26ed28/trial-00005.pt','4803ba6112de1e4be7be0cbb7c16390df0fb1548753067025c844754afecf800',31797);
INSERT INTO "flatselect_checkpoints" VALUES('ed26ed28123d468da71f9db7b14ea586',6,2,'/studies/released-checkpoints/ed26ed28/trial-00006.pt','e454545642b9d8f895065480bfcad9f129962294e6e184c9688a05e8bb732990',28294);
INSERT INTO "flatselect_checkpoints" VALUES('ed26ed28123d468da71f9db7b14ea586',7,3,'/studies/released-checkpoints/ed26ed28/trial-00007.pt','0ab0ff95c09e0e8b3f9d4168d8b034a20237ef7997cc6287f52a407819540584',21574);
INSERT INTO "flatselect_checkpoints" VALUES('ed26ed28123d468da71f9db7b14ea586',8,2,'/studies/released-checkpoints/ed26ed28/trial-00008.pt','b43e18d1ff49e1d9004d5145ff726b4dbba49dfe2200054e375605679549da77',28294);
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
INSERT INTO "flatselect_measurements" VALUES('ed26ed28123d468da71f9db7b14ea586',0,1,1,8.33333333333333287074e-02,2.39335918426513671875e+00,96,2956,8.41510812727679180511e+00,8.93027000653953706432e+00,'stages.1.0.second.conv','hessian',32,'{"n_classes": 10.0, "mean_confidence": 0.16694269068394638, "confidence_q10": 0.15384883240754219, "gini": 0.880839638759354, "logit_variance": 0.23353693685190777, "margin_q10": 0.0051004916429519655, "margin_q50": 0.039062559604644775, "temperature_flat_ratio": 40.907908038939375, "head_frobenius_norm": 1.8774666203346309, "feature_norm": 3.358250896163823}',8.33333333333333287074e-02,2.38834126790364598136e+00,24,2.57706040001721703447e-02,2.97198369999023270793e-02);
INSERT INTO "flatselect_measurements" VALUES('ed26ed28123d468da71f9db7b14ea586',0,2,1,7.29166666666666712925e-02,2.34974114100138331551e+00,96,2956,5.79171028817622612905e+00,6.12158714471168785564e+00,'stages.1.0.second.conv','hessian',32,'{"n_classes": 10.0, "mean_confidence": 0.15295621850049892, "confidence_q10": 0.14169962682950943, "gini": 0.8877957765012883, "logit_variance": 0.1458954948967886, "margin_q10": 0.01960591971874237, "margin_q50": 0.048864349722862244, "temperature_flat_ratio": 44.71485979793196, "head_frobenius_norm": 1.8723642945339067, "feature_norm": 2.7753944220248066}',4.16666666666666643537e-02,2.35402154922485351562e+00,24,1.58503829998153378255e-02,1.97181820003606844693e-02);
INSERT INTO "flatselect_measurements" VALUES('ed26ed28123d468da71f9db7b14ea586',0,3,1,8.33333333333333287074e-02,2.33012183507283543448e+00,96,2956,4.37994962178773317162e+00,4.63975623297577666193e+00,'stages.1.0.second.conv','hessian',32,'{"n_classes": 10.0, "mean_confidence": 0.1444836153583655, "confidence_q10": 0.13307718503062965, "gini": 0.8912343304918858, "logit_variance": 0.10420111875124957, "margin_q10": 0.014698101580142975, "margin_q50": 0.055246978998184204, "temperature_flat_ratio": 47.163369647024325, "head_frobenius_norm": 1.870934350181691, "feature_norm": 2.401525902820036}',8.33333333333333287074e-02,2.34058634440104151863e+00,24,1.1191651999979512766e-02,1.53952530008609755896e-02);
INSERT INTO "flatselect_measurements" VALUES('ed26ed28123d468da71f9db7b14ea586',3,1,1,0.09375,2.45479075113932276863e+00,96,2956,2.63401135436289646207e+00,2.41904536052289254044e+00,'stages.1.0.second.conv','hessian',32,'{"n_classes": 10.0, "mean_confidence": 0.284167973072624, "confidence_q10": 0.2474987835146263, "gini": 0.853846654065559, "logit_variance": 0.3210236820780895, "margin_q10": 0.5949710220098495, "margin_q50": 0.7271829396486282, "temperature_flat_ratio": 9.609497765230714, "head_frobenius_norm": 1.845182705205454, "feature_norm": 2.989829757913261}',0.125,2.47742780049641941886e+00,24,1.12560489997122203931e-02,1.83428540003660600632e-02);
INSERT INTO "flatselect_measurements" VALUES('ed26ed28123d468da71f9db7b14ea586',3,2,1,0.09375,2.37149000167846679687e+00,96,2956,2.03035984247843526162e+00,1.88644009244417620863e+00,'stages.1.0.second.conv','hessian',32,'{"n_classes": 10.0, "mean_confidence": 0.22390549795355877, "confidence_q10": 0.1921823754827549, "gini": 0.877173044127491, "logit_variance": 0.18314188346507, "margin_q10": 0.42707115709781646, "margin_q50": 0.5483881123363972, "temperature_flat_ratio": 12.63863179853284, "head_frobenius_norm": 1.8382702900550758, "feature_norm": 2.3297116051291447}',0.125,2.40198167165120457511e+00,24,1.12299740003436454571e-02,2.02922939997733919881e-02);
INSERT INTO "flatselect_measurements" VALUES('ed26ed28123d468da71f9db7b14ea586',3,3,1,0.09375,2.33934879302978515625e+00,96,2956,1.74731206879262557229e+00,1.64937246832047046396e+00,'stages.1.0.second.conv','hessian',32,'{"n_classes": 10.0, "mean_confidence": 0.19527868293366657, "confidence_q10": 0.1634062253466836, "gini": 0.8854267093288446, "logit_variance": 0.12756212204894643, "margin_q10": 0.34096757471561434, "margin_q50": 0.45300501585006714, "temperature_flat_ratio": 15.470206926413569, "head_frobenius_norm": 1.8372425403820705, "feature_norm": 1.941241125837453}',0.125,2.37328481674194335937e+00,24,1.32310119997782749123e-02,1.91578779995325021445e-02);
INSERT INTO "flatselect_measurements" VALUES('ed26ed28123d468da71f9db7b14ea586',4,1,1,0.09375,2.34949668248494480948e+00,96,5122,5.81471644263137754649e+00,5.60462103147120060953e+00,'stages.1.0.second.conv','hessian',32,'{"n_classes": 10.0, "mean_confidence": 0.15741397520670744, "confidence_q10": 0.14350091024319236, "gini": 0.8930916179351649, "logit_variance": 0.06767398205633617, "margin_q10": 0.14786596447229386, "margin_q50": 0.2445620521903038, "temperature_flat_ratio": 96.20791344511161, "head_frobenius_norm": 1.903799034235757, "feature_norm": 2.363562869162159}',0.125,2.34272257486979151863e+00,24,1.15570890002345549874e-02,2.69745079995118430815e-02);
INSERT INTO "flatselect_measurements" VALUES('ed26ed28123d468da71f9db7b14ea586',4,2,1,1.04166666666666671292e-01,2.33576806386311863761e+00,96,5122,4.23967054691842637481e+00,4.09233992904850474303e+00,'stages.1.0.second.conv','hessian',32,'{"n_classes": 10.0, "mean_confidence": 0.14443292248061043, "confidence_q10": 0.13263874436072487, "gini": 0.8954029725685335, "logit_variance": 0.047207742141465156, "margin_q10": 0.10698351114988328, "margin_q50": 0.20054695010185242, "temperature_flat_ratio": 100.29986508038441, "head_frobenius_norm": 1.903798907098884, "feature_norm": 2.0522584402754687}',0.125,2.33362976710001612801e+00,24,1.31800920007663080468e-02,1.94340369998826645314e-02);
INSERT INTO "flatselect_measurements" VALUES('ed26ed28123d468da71f9db7b14ea586',4,3,1,1.04166666666666671292e-01,2.32833560307820652823e+00,96,5122,3.51082830331916229127e+00,3.39000275194658584609e+00,'stages.1.0.second.conv','hessian',32,'{"n_classes": 10.0, "mean_confidence": 0.13582197795766932, "confidence_q10": 0.1246914685275426, "gini": 0.8964485295142451, "logit_variance": 0.03793517819871166, "margin_q10": 0.05882956236600876, "margin_q50": 0.1490461751818657, "temperature_flat_ratio": 103.23859921332922, "head_frobenius_norm": 1.9037988769580718, "feature_norm": 1.8761676303169248}',8.33333333333333287074e-02,2.33003505071004246573e+00,24,1.28302550001535564661e-02,1.77376510000613052397e-02);
INSERT INTO "flatselect_measurements" VALUES('ed26ed28123d468da71f9db7b14ea586',5,1,1,1.04166666666666671292e-01,2.3479595184326171875e+00,96,1382,1.27945115141125875801e+00,1.13481823464168574133e+00,'stages.1.0.second.conv','hessian',32,'{"n_classes": 10.0, "mean_confidence": 0.1449968366502979, "confidence_q10": 0.13700483266908453, "gini": 0.8927011589073937, "logit_variance": 0.07693516086096364, "margin_q10": 0.01852715015411377, "margin_q50": 0.06644636392593384, "temperature_flat_ratio": 18.629137350401884, "head_frobenius_norm": 1.783319060183322, "feature_norm": 1.7267147682795065}',8.33333333333333287074e-02,2.34336058298746729988e+00,24,2.12624409996351459994e-02,2.1259443000417377334e-02);
INSERT INTO "flatselect_measurements" VALUES('ed26ed28123d468da71f9db7b14ea586',5,2,1,1.14583333333333328707e-01,2.32962624231974269051e+00,96,1382,9.28160958259210189247e-01,8.32195501563302908465e-01,'stages.1.0.second.conv','hessian',32,'{"n_classes": 10.0, "mean_confidence": 0.13427456722060838, "confidence_q10": 0.12621192267953815, "gini": 0.8954120378563641, "logit_variance": 0.047799411699378534, "margin_q10": 0.0059235900640487674, "margin_q50": 0.05137406289577484, "temperature_flat_ratio": 21.685918252048662, "head_frobenius_norm": 1.7740025446974517, "feature_norm": 1.4154717472883251}',1.66666666666666657414e-01,2.32581726710001612801e+00,24,1.20991089997914968989e-02,2.15495880001981277018e-02);
INSERT INTO "flatselect_measurements" VALUES('ed26ed28123d468da71f9db7b14ea586',5,3,1,0.125,2.32284863789876316886e+00,96,1382,8.09803654717611509639e-01,0.73367189996716,'stages.1.0.second.conv','hessian',32,'{"n_classes": 10.0, "mean_confidence": 0.1297584708496236, "confidence_q10": 0.12110336476537266, "gini": 0.8964233850156798, "logit_variance": 0.03700775784160632, "margin_q10": 0.0025038406252861026, "margin_q50": 0.035577863454818726, "temperature_flat_ratio": 24.4103373467607, "head_frobenius_norm": 1.7718515611821237, "feature_norm": 1.228694643442969}',1.66666666666666657414e-01,2.31783246994018554687e+00,24,1.09822650001660804264e-02,1.8049323999548505526e-02);
INSERT INTO "flatselect_measurements" VALUES('ed26ed28123d468da71f9db7b14ea586',6,1,1,0.1,2.31401468912760410745e+00,120,2034,1.85501215272064690076e+00,8.69877640171051846884e-01,'stages.1.0.conv','hessian',32,'{"n_classes": 10.0, "mean_confidence": 0.1508644180895697, "confidence_q10": 0.14094174850650854, "gini": 0.8951366007278163, "logit_variance": 0.04204172726960537, "margin_q10": 0.1700943484902382, "margin_q50": 0.2174748256802559, "temperature_flat_ratio": 49.2920514912585, "head_frobenius_norm": 1.8085605501819666, "feature_norm": 1.6300527016808297}',NULL,NULL,0,1.48011380006209947168e-02,1.86072579999745357781e-02);
INSERT INTO "flatselect_measurements" VALUES('ed26ed28123d468da71f9db7b14ea586',6,2,1,0.1,2.31179504394531232236e+00,120,2034,1.76433323941947173274e+00,8.30057094441840837006e-01,'stages.1.0.conv','hessian',32,'{"n_classes": 10.0, "mean_confidence": 0.15027315986529557, "confidence_q10": 0.13934355304416046, "gini": 0.8954720692719083, "logit_variance": 0.038768197507129884, "margin_q10": 0.19434924274683, "margin_q50": 0.23589424788951874, "temperature_flat_ratio": 50.822141674961216, "head_frobenius_norm": 1.8085604919345437, "feature_norm": 1.5087693032522056}',NULL,NULL,0,2.4101002000861626584e-02,1.38202449998061638325e-02);
INSERT INTO "flatselect_measurements" VALUES('ed26ed28123d468da71f9db7b14ea586',7,1,1,1.8333333333333332038e-01,2.30580571492513,120,1204,1.38470935102193615229e+00,6.91197374325994373656e-01,'stages.1.0.conv','hessian',32,'{"n_classes": 10.0, "mean_confidence": 0.11522693679652211, "confidence_q10": 0.1117796624218117, "gini": 0.898861605375398, "logit_variance": 0.011691973426896155, "margin_q10": 0.0054457888007164, "margin_q50": 0.026216084137558937, "temperature_flat_ratio": 131.75829775063588, "head_frobenius_norm": 1.8417974718057357, "feature_norm": 1.2067188160309774}',NULL,NULL,0,1.10679990002608974464e-02,1.44069489997491473332e-02);
INSERT INTO "flatselect_measurements" VALUES('ed26ed28123d468da71f9db7b14ea586',7,2,1,0.175,2.30390853881835955263e+00,120,1204,1.21685093447005554523e+00,6.18121248452285665386e-01,'stages.1.0.conv','hessian',32,'{"n_classes": 10.0, "mean_confidence": 0.11433773897286914, "confidence_q10": 0.11175840069273837, "gini": 0.899053264225601, "logit_variance": 0.00964245695798446, "margin_q10": 0.004576348513364792, "margin_q50": 0.029932525008916855, "temperature_flat_ratio": 140.36675138957733, "head_frobenius_norm": 1.8409010286504728, "feature_norm": 1.1011101828084415}',NULL,NULL,0,8.28465499944286420941e-03,1.17081540001890971325e-02);
INSERT INTO "flatselect_measurements" VALUES('ed26ed28123d468da71f9db7b14ea586',7,3,1,1.58333333333333325931e-01,2.302516937255859375e+00,120,1204,1.20191265863667662294e+00,6.17894835991447233247e-01,'stages.1.0.conv','hessian',32,'{"n_classes": 10.0, "mean_confidence": 0.11437239769030287, "confidence_q10": 0.11150981656615506, "gini": 0.8991027151302555, "logit_variance": 0.009083706412884224, "margin_q10": 0.00521099902689457, "margin_q50": 0.026958191767334938, "temperature_flat_ratio": 147.16363643381354, "head_frobenius_norm": 1.8406382425679746, "feature_norm": 1.0579247801403193}',NULL,NULL,0,7.79781200071738567203e-03,1.71380519996091607026e-02);
INSERT INTO "flatselect_measurements" VALUES('ed26ed28123d468da71f9db7b14ea586',8,1,1,6.66666666666666657414e-02,2.31091130574544267872e+00,120,2034,9.3596730192149357741e-01,5.03941288877141402302e-01,'stages.1.0.conv','hessian',32,'{"n_classes": 10.0, "mean_confidence": 0.1134481289088818, "confidence_q10": 0.11015836067522575, "gini": 0.8989348397841748, "logit_variance": 0.011821176597468324, "margin_q10": 0.001978999376296997, "margin_q50": 0.020480312407016754, "temperature_flat_ratio": 88.07887501092266, "head_frobenius_norm": 1.8382057442105602, "feature_norm": 0.8103531830876245}',NULL,NULL,0,7.91771700005483580753e-03,1.57437460002256557345e-02);
INSERT INTO "flatselect_measurements" VALUES('ed26ed28123d468da71f9db7b14ea586',8,2,1,6.66666666666666657414e-02,2.309803009033203125e+00,120,2034,1.06987915019178880804e+00,5.71092187386900929091e-01,'stages.1.0.conv','hessian',32,'{"n_classes": 10.0, "mean_confidence": 0.11446449170498475, "confidence_q10": 0.11026647212100492, "gini": 0.8988697884896004, "logit_variance": 0.012572607344140323, "margin_q10": 0.003754118084907532, "margin_q50": 0.0196828693151474, "temperature_flat_ratio": 94.67004596635773, "head_frobenius_norm": 1.8357681487382114, "feature_norm": 0.8656585316596154}',NULL,NULL,0,8.87162799972429638728e-03,1.21840030005841981619e-02);
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
INSERT INTO "flatselect_predictions" VALUES('ed26ed28123d468da71f9db7b14ea586',0,3,'a63af3c153ea9f9fc1665bec92308757',1.18198516590171283369e-02,-7.12096475690453534213e-02,6.15593968539297625719e-02,0.0715134816743162,2.17739364794035661354e-02,1.5454298090237866825e-01,1);
INSERT INTO "flatselect_predictions" VALUES('ed26ed28123d468da71f9db7b14ea586',3,3,'a63af3c153ea9f9fc1665bec92308757',-7.05937126810384646402e-02,-1.94913250445532565402e-01,2.00664430730699727689e-01,1.64343712681038478518e-01,0.0,2.88663250445532537646e-01,1);
INSERT INTO "flatselect_predictions" VALUES('ed26ed28123d468da71f9db7b14ea586',4,3,'a63af3c153ea9f9fc1665bec92308757',-3.10021215558938696699e-02,-6.40690144951616136204e-02,2.84705845577059267481e-02,1.35168788222560537493e-01,7.56960821089607410749e-02,1.6823568116182829879e-01,1);
INSERT INTO "flatselect_predictions" VALUES('ed26ed28123d468da71f9db7b14ea586',5,3,'a63af3c153ea9f9fc1665bec92308757',5.57781260149558255623e-02,-2.36504841160090073515e-01,2.19923983068856687683e-01,6.92218739850441744376e-02,0.0,3.61504841160090073515e-01,1);
INSERT INTO "flatselect_predictions" VALUES('ed26ed28123d468da71f9db7b14ea586',6,1,'a63af3c153ea9f9fc1665bec92308757',-2.42856841604908793574e-02,-0.0644023748219803,2.69351783787962796579e-02,1.24285684160490877969e-01,7.30648216212037293626e-02,1.64402374821980307162e-01,1);
INSERT INTO "flatselect_predictions" VALUES('ed26ed28123d468da71f9db7b14ea586',6,2,'a63af3c153ea9f9fc1665bec92308757',-2.75946636216442553468e-02,-7.2556759248618180047e-02,2.52798758888597048521e-02,1.27594663621644260897e-01,0.0747201241111403,1.72556759248618185598e-01,1);
INSERT INTO "flatselect_predictions" VALUES('ed26ed28123d468da71f9db7b14ea586',7,1,'a63af3c153ea9f9fc1665bec92308757',-5.84340179533917813969e-01,-1.0,1.0,7.67673512867251162106e-01,0.0,1.0,1);
INSERT INTO "flatselect_predictions" VALUES('ed26ed28123d468da71f9db7b14ea586',7,2,'a63af3c153ea9f9fc1665bec92308757',-4.09925656816586714281e-01,-1.0,9.60591899806420679297e-01,5.84925656816586703179e-01,0.0,1.0,1);
INSERT INTO "flatselect_predictions" VALUES('ed26ed28123d468da71f9db7b14ea586',7,3,'a63af3c153ea9f9fc1665bec92308757',-1.93642722249538629109e-01,-4.64645334674390730889e-01,4.3737935341294886804e-01,3.51976055582871927285e-01,0.0,6.2297866800772405682e-01,1);
INSERT INTO "flatselect_predictions" VALUES('ed26ed28123d468da71f9db7b14ea586',8,1,'a63af3c153ea9f9fc1665bec92308757',1.39628473228084904605e-02,-7.04928866551269295293e-02,1.10143990614820247442e-01,5.27038193438581770156e-02,0.0,1.37159553321793581392e-01,1);
INSERT INTO "flatselect_predictions" VALUES('ed26ed28123d468da71f9db7b14ea586',8,2,'a63af3c153ea9f9fc1665bec92308757',1.38187570961816347941e-02,-6.69994889222317313581e-02,1.059797547648274052e-01,5.2847909570485032682e-02,0.0,1.33666155588898383221e-01,1);
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
	config JSON NOT NULL, machine TEXT DEFAULT '' NOT NULL, 
	CONSTRAINT pk_flatselect_runs PRIMARY KEY (uid), 
	CONSTRAINT fk_flatselect_runs_study_uid FOREIGN KEY(study_uid) REFERENCES flatselect_studies (uid) ON DELETE CASCADE
);
INSERT INTO "flatselect_runs" VALUES('4159e269324d48a3a59472982a7aeea0','ed26ed28123d468da71f9db7b14ea586','2026-11-22 13:41:10.859512','2026-11-22 13:41:17.491464','2026-11-22 13:41:17.491464','complete','machine',2103,'inline','{"python": "3.11.7", "flatselect": "0.1.0", "torch": "2.15.0", "torchvision": "0.29.2", "optuna": "5.0.0", "ray": "2.60.0", "scikit-learn": "1.9.1", "sqlalchemy": "2.1.9", "numpy": "2.4.6"}','{"study": {"name": "released", "storage_timeout": 600.0, "checkpoints": "/studies/released-checkpoints", "log_json": false, "trials": 10, "sampler": "random", "population": 16, "seed": 1, "objective": "predicted_test_score", "direction": "maximize", "minimize": [], "retrain_top": 0, "max_failures_in_row": 5}, "data": {"train": "digits", "audit": "digits", "size": 120, "audit_size": 50, "unlabeled_size": 1000, "download": false, "augmentation": "none", "loader_workers": 0}, "search_space": {"width": {"type": "int", "low": 4, "high": 8, "log": false, "step": 1, "when": {}}, "block": {"type": "categorical", "choices": ["plain", "residual"], "when": {}}, "learning_rate": {"type": "categorical", "choices": [0.05, 1e-06, 1e+30], "when": {}}, "momentum": {"type": "float", "low": 0.5, "high": 0.9, "log": false, "when": {}}}, "model": {"name": "cnn", "args": {}}, "training": {"epochs": 3, "batch_size": 64, "optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.9, "nesterov": false, "weight_decay": 0.0, "schedule": "cosine", "warmup_epochs": 0.0, "step_epochs": 10, "step_factor": 0.1, "label_smoothing": 0.0, "mixed_precision": true, "compile": false, "flatness_penalty": 0.0, "flatness_penalty_images": 32}, "measure": {"every": 1, "probe": 32, "batch_size": 256, "extras": [], "latency_batch_size": 1}, "calibration": {"trials": 4, "holdout": 0.2, "coverage": 0.9, "estimator": "ridge", "artifact_trials": 0}, "pruner": {"name": "flatness", "startup_trials": 1, "warmup_epochs": 1, "patience": 1, "margin": 0.0, "reference": "best", "confidence": 0.7}, "ray": {"backend": "inline", "autoscaling": false, "worker_timeout": 600.0, "cpus_per_trial": 1.0, "max_failures": 3, "dashboard": false, "metrics": false}}','boot pid');
CREATE TABLE flatselect_standings (
	study_uid TEXT NOT NULL, 
	trial_number INTEGER NOT NULL, 
	epochs INTEGER NOT NULL, 
	seconds DOUBLE NOT NULL, 
	epoch INTEGER NOT NULL, 
	n_train_images INTEGER NOT NULL, 
	n_parameters BIGINT NOT NULL, 
	latency_ms DOUBLE, 
	train_score DOUBLE, 
	train_loss DOUBLE, 
	holdout_score DOUBLE, 
	relative_gap_flatness DOUBLE, 
	hessian_trace DOUBLE, 
	layer TEXT, 
	exactness TEXT, 
	calibrator_uid TEXT, 
	gap DOUBLE, 
	gap_low DOUBLE, 
	gap_high DOUBLE, 
	score DOUBLE, 
	score_low DOUBLE, 
	score_high DOUBLE, 
	extrapolation BOOLEAN, 
	CONSTRAINT pk_flatselect_standings PRIMARY KEY (study_uid, trial_number), 
	CONSTRAINT fk_flatselect_standings_study_uid FOREIGN KEY(study_uid) REFERENCES flatselect_studies (uid) ON DELETE CASCADE
);
INSERT INTO "flatselect_standings" VALUES('ed26ed28123d468da71f9db7b14ea586',0,3,1.17645911001091008074e-01,3,96,2956,NULL,8.33333333333333287074e-02,2.33012183507283543448e+00,8.33333333333333287074e-02,4.37994962178773317162e+00,4.63975623297577666193e+00,'stages.1.0.second.conv','hessian','a63af3c153ea9f9fc1665bec92308757',1.18198516590171283369e-02,-7.12096475690453534213e-02,6.15593968539297625719e-02,0.0715134816743162,2.17739364794035661354e-02,1.5454298090237866825e-01,1);
INSERT INTO "flatselect_standings" VALUES('ed26ed28123d468da71f9db7b14ea586',3,3,0.0935100609995061,3,96,2956,NULL,0.09375,2.33934879302978515625e+00,0.125,1.74731206879262557229e+00,1.64937246832047046396e+00,'stages.1.0.second.conv','hessian','a63af3c153ea9f9fc1665bec92308757',-7.05937126810384646402e-02,-1.94913250445532565402e-01,2.00664430730699727689e-01,1.64343712681038478518e-01,0.0,2.88663250445532537646e-01,1);
INSERT INTO "flatselect_standings" VALUES('ed26ed28123d468da71f9db7b14ea586',4,3,1.01713632000610232353e-01,3,96,5122,NULL,1.04166666666666671292e-01,2.32833560307820652823e+00,8.33333333333333287074e-02,3.51082830331916229127e+00,3.39000275194658584609e+00,'stages.1.0.second.conv','hessian','a63af3c153ea9f9fc1665bec92308757',-3.10021215558938696699e-02,-6.40690144951616136204e-02,2.84705845577059267481e-02,1.35168788222560537493e-01,7.56960821089607410749e-02,1.6823568116182829879e-01,1);
INSERT INTO "flatselect_standings" VALUES('ed26ed28123d468da71f9db7b14ea586',5,3,1.05202169999756733886e-01,3,96,1382,NULL,0.125,2.32284863789876316886e+00,1.66666666666666657414e-01,8.09803654717611509639e-01,0.73367189996716,'stages.1.0.second.conv','hessian','a63af3c153ea9f9fc1665bec92308757',5.57781260149558255623e-02,-2.36504841160090073515e-01,2.19923983068856687683e-01,6.92218739850441744376e-02,0.0,3.61504841160090073515e-01,1);
INSERT INTO "flatselect_standings" VALUES('ed26ed28123d468da71f9db7b14ea586',6,2,7.13296430012633209116e-02,2,120,2034,NULL,0.1,2.31179504394531232236e+00,NULL,1.76433323941947173274e+00,8.30057094441840837006e-01,'stages.1.0.conv','hessian','a63af3c153ea9f9fc1665bec92308757',-2.75946636216442553468e-02,-7.2556759248618180047e-02,2.52798758888597048521e-02,1.27594663621644260897e-01,0.0747201241111403,1.72556759248618185598e-01,1);
INSERT INTO "flatselect_standings" VALUES('ed26ed28123d468da71f9db7b14ea586',7,3,7.04036209999685524962e-02,3,120,1204,NULL,1.58333333333333325931e-01,2.302516937255859375e+00,NULL,1.20191265863667662294e+00,6.17894835991447233247e-01,'stages.1.0.conv','hessian','a63af3c153ea9f9fc1665bec92308757',-1.93642722249538629109e-01,-4.64645334674390730889e-01,4.3737935341294886804e-01,3.51976055582871927285e-01,0.0,6.2297866800772405682e-01,1);
INSERT INTO "flatselect_standings" VALUES('ed26ed28123d468da71f9db7b14ea586',8,2,4.47170940005889860913e-02,2,120,2034,NULL,6.66666666666666657414e-02,2.309803009033203125e+00,NULL,1.06987915019178880804e+00,5.71092187386900929091e-01,'stages.1.0.conv','hessian','a63af3c153ea9f9fc1665bec92308757',1.38187570961816347941e-02,-6.69994889222317313581e-02,1.059797547648274052e-01,5.2847909570485032682e-02,0.0,1.33666155588898383221e-01,1);
CREATE TABLE flatselect_studies (
	uid TEXT NOT NULL, 
	name TEXT NOT NULL, 
	created_at DATETIME NOT NULL, 
	config JSON NOT NULL, 
	data JSON NOT NULL, 
	CONSTRAINT pk_flatselect_studies PRIMARY KEY (uid)
);
INSERT INTO "flatselect_studies" VALUES('ed26ed28123d468da71f9db7b14ea586','released','2026-11-22 13:41:10.538367','{"study": {"name": "released", "storage_timeout": 600.0, "checkpoints": "/studies/released-checkpoints", "log_json": false, "trials": 10, "sampler": "random", "population": 16, "seed": 1, "objective": "predicted_test_score", "direction": "maximize", "minimize": [], "retrain_top": 0, "max_failures_in_row": 5}, "data": {"train": "digits", "audit": "digits", "size": 120, "audit_size": 50, "unlabeled_size": 1000, "download": false, "augmentation": "none", "loader_workers": 0}, "search_space": {"width": {"type": "int", "low": 4, "high": 8, "log": false, "step": 1, "when": {}}, "block": {"type": "categorical", "choices": ["plain", "residual"], "when": {}}, "learning_rate": {"type": "categorical", "choices": [0.05, 1e-06, 1e+30], "when": {}}, "momentum": {"type": "float", "low": 0.5, "high": 0.9, "log": false, "when": {}}}, "model": {"name": "cnn", "args": {}}, "training": {"epochs": 3, "batch_size": 64, "optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.9, "nesterov": false, "weight_decay": 0.0, "schedule": "cosine", "warmup_epochs": 0.0, "step_epochs": 10, "step_factor": 0.1, "label_smoothing": 0.0, "mixed_precision": true, "compile": false, "flatness_penalty": 0.0, "flatness_penalty_images": 32}, "measure": {"every": 1, "probe": 32, "batch_size": 256, "extras": [], "latency_batch_size": 1}, "calibration": {"trials": 4, "holdout": 0.2, "coverage": 0.9, "estimator": "ridge", "artifact_trials": 0}, "pruner": {"name": "flatness", "startup_trials": 1, "warmup_epochs": 1, "patience": 1, "margin": 0.0, "reference": "best", "confidence": 0.7}, "ray": {"backend": "inline", "autoscaling": false, "worker_timeout": 600.0, "cpus_per_trial": 1.0, "max_failures": 3, "dashboard": false, "metrics": false}}','{"fingerprint": "986f14fbe4dce9d90add283bcecdaeb95cbc34704d1eaff160334b98407ec54f", "n_images": 120, "name": "digits", "class_names": ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"], "input_shape": [1, 8, 8], "mean": [0.29956290849673206], "std": [0.37210650692828706]}');
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
INSERT INTO "study_system_attributes" VALUES(1,1,'study:metric_names','["predicted test score"]');
CREATE TABLE study_user_attributes (
	study_user_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_user_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_user_attributes" VALUES(1,1,'flatselect:uid','"ed26ed28123d468da71f9db7b14ea586"');
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
INSERT INTO "trial_intermediate_values" VALUES(13,7,1,1.24285684160490877969e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(14,7,2,1.27594663621644260897e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(15,8,1,7.67673512867251162106e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(16,8,2,5.84925656816586703179e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(17,8,3,3.51976055582871927285e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(18,9,1,5.27038193438581770156e-02,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(19,9,2,5.2847909570485032682e-02,'FINITE');
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
INSERT INTO "trial_user_attributes" VALUES(1,1,'flatselect:asked_by','"4159e269324d48a3a59472982a7aeea0/7dcd448452a6433e8433a8d174803507"');
INSERT INTO "trial_user_attributes" VALUES(2,1,'flatselect:is_calibration','true');
INSERT INTO "trial_user_attributes" VALUES(3,1,'flatselect:relative_gap_flatness','4.379949621787733');
INSERT INTO "trial_user_attributes" VALUES(4,2,'flatselect:asked_by','"4159e269324d48a3a59472982a7aeea0/a8831465d3fb42aaa9a0eb51149036d7"');
INSERT INTO "trial_user_attributes" VALUES(5,2,'flatselect:is_calibration','true');
INSERT INTO "trial_user_attributes" VALUES(6,2,'flatselect:failure','"NonFiniteError: the training loss is nan in epoch 1 (learning_rate = 1e+30); a lower rate or gradient_clip may help"');
INSERT INTO "trial_user_attributes" VALUES(7,3,'flatselect:asked_by','"4159e269324d48a3a59472982a7aeea0/7fb5c7ecbdee43c598cfe1cd58e2e3a0"');
INSERT INTO "trial_user_attributes" VALUES(8,3,'flatselect:is_calibration','true');
INSERT INTO "trial_user_attributes" VALUES(9,3,'flatselect:failure','"NonFiniteError: the training loss is nan in epoch 1 (learning_rate = 1e+30); a lower rate or gradient_clip may help"');
INSERT INTO "trial_user_attributes" VALUES(10,4,'flatselect:asked_by','"4159e269324d48a3a59472982a7aeea0/834e443df3184fa0a53b9eeb348b759c"');
INSERT INTO "trial_user_attributes" VALUES(11,4,'flatselect:is_calibration','true');
INSERT INTO "trial_user_attributes" VALUES(12,4,'flatselect:relative_gap_flatness','1.7473120687926256');
INSERT INTO "trial_user_attributes" VALUES(13,5,'flatselect:asked_by','"4159e269324d48a3a59472982a7aeea0/fb486a798b0744bbaa3fdf200ad3a006"');
INSERT INTO "trial_user_attributes" VALUES(14,5,'flatselect:is_calibration','true');
INSERT INTO "trial_user_attributes" VALUES(15,5,'flatselect:relative_gap_flatness','3.5108283033191623');
INSERT INTO "trial_user_attributes" VALUES(16,6,'flatselect:asked_by','"4159e269324d48a3a59472982a7aeea0/54acff5770f14782885b57a71a6c0871"');
INSERT INTO "trial_user_attributes" VALUES(17,6,'flatselect:is_calibration','true');
INSERT INTO "trial_user_attributes" VALUES(18,6,'flatselect:relative_gap_flatness','0.8098036547176115');
INSERT INTO "trial_user_attributes" VALUES(19,7,'flatselect:asked_by','"4159e269324d48a3a59472982a7aeea0/b1fd00f5d8964cfabf6fba93c604362c"');
INSERT INTO "trial_user_attributes" VALUES(20,7,'flatselect:is_calibration','false');
INSERT INTO "trial_user_attributes" VALUES(21,7,'flatselect:relative_gap_flatness','1.7643332394194717');
INSERT INTO "trial_user_attributes" VALUES(22,7,'flatselect:predicted_test_score_interval','[0.0747201241111403, 0.17255675924861819]');
INSERT INTO "trial_user_attributes" VALUES(23,7,'flatselect:pruned_because','"epoch 2: upper bound 0.1599 of its predicted final value < 0.1667, the best of the 4 finished trials (trial 5)"');
INSERT INTO "trial_user_attributes" VALUES(24,8,'flatselect:asked_by','"4159e269324d48a3a59472982a7aeea0/14411f95df824c50abca0184d5460cc5"');
INSERT INTO "trial_user_attributes" VALUES(25,8,'flatselect:is_calibration','false');
INSERT INTO "trial_user_attributes" VALUES(26,8,'flatselect:relative_gap_flatness','1.2019126586366766');
INSERT INTO "trial_user_attributes" VALUES(27,8,'flatselect:predicted_test_score_interval','[0.0, 0.6229786680077241]');
INSERT INTO "trial_user_attributes" VALUES(28,9,'flatselect:asked_by','"4159e269324d48a3a59472982a7aeea0/77c07d6102e448128f97ffddfc0774dd"');
INSERT INTO "trial_user_attributes" VALUES(29,9,'flatselect:is_calibration','false');
INSERT INTO "trial_user_attributes" VALUES(30,9,'flatselect:relative_gap_flatness','1.0698791501917888');
INSERT INTO "trial_user_attributes" VALUES(31,9,'flatselect:predicted_test_score_interval','[0.0, 0.13366615558889838]');
INSERT INTO "trial_user_attributes" VALUES(32,9,'flatselect:pruned_because','"epoch 2: upper bound 0.2208 of its predicted final value < 0.352, the best of the 5 finished trials (trial 7)"');
INSERT INTO "trial_user_attributes" VALUES(33,10,'flatselect:asked_by','"4159e269324d48a3a59472982a7aeea0/9d7a7dcfcd39424a8f3074b4ec8d72a8"');
INSERT INTO "trial_user_attributes" VALUES(34,10,'flatselect:is_calibration','false');
INSERT INTO "trial_user_attributes" VALUES(35,10,'flatselect:failure','"NonFiniteError: the training loss is nan in epoch 1 (learning_rate = 1e+30); a lower rate or gradient_clip may help"');
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
INSERT INTO "trial_values" VALUES(5,7,0,1.27594663621644260897e-01,'FINITE');
INSERT INTO "trial_values" VALUES(6,8,0,3.51976055582871927285e-01,'FINITE');
INSERT INTO "trial_values" VALUES(7,9,0,5.2847909570485032682e-02,'FINITE');
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
INSERT INTO "trials" VALUES(1,0,1,'COMPLETE','2026-11-22 13:41:11.048669','2026-11-22 13:41:16.499845');
INSERT INTO "trials" VALUES(2,1,1,'FAIL','2026-11-22 13:41:16.502492','2026-11-22 13:41:16.550293');
INSERT INTO "trials" VALUES(3,2,1,'FAIL','2026-11-22 13:41:16.551696','2026-11-22 13:41:16.594655');
INSERT INTO "trials" VALUES(4,3,1,'COMPLETE','2026-11-22 13:41:16.596395','2026-11-22 13:41:16.731657');
INSERT INTO "trials" VALUES(5,4,1,'COMPLETE','2026-11-22 13:41:16.733342','2026-11-22 13:41:16.877239');
INSERT INTO "trials" VALUES(6,5,1,'COMPLETE','2026-11-22 13:41:16.878782','2026-11-22 13:41:17.030038');
INSERT INTO "trials" VALUES(7,6,1,'PRUNED','2026-11-22 13:41:17.075881','2026-11-22 13:41:17.206238');
INSERT INTO "trials" VALUES(8,7,1,'COMPLETE','2026-11-22 13:41:17.207454','2026-11-22 13:41:17.311153');
INSERT INTO "trials" VALUES(9,8,1,'PRUNED','2026-11-22 13:41:17.312518','2026-11-22 13:41:17.383093');
INSERT INTO "trials" VALUES(10,9,1,'FAIL','2026-11-22 13:41:17.384379','2026-11-22 13:41:17.408580');
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
CREATE VIEW flatselect_optuna_trials AS 
SELECT s.name AS study, s.uid AS study_uid, t.trial_id AS trial_id, CAST(t.number AS INTEGER) AS number,
  t.state AS state, t.datetime_start AS started_at, t.datetime_complete AS ended_at,
  (SELECT CAST(x.value_json AS INTEGER) FROM trial_user_attributes x
    WHERE x.trial_id = t.trial_id AND x.key = 'flatselect:retrains') AS retrains,
  (SELECT CAST(x.value_json AS INTEGER) FROM trial_user_attributes x
    WHERE x.trial_id = t.trial_id AND x.key = 'flatselect:retries') AS retries,
  (SELECT json_extract(x.value_json, '$') FROM trial_user_attributes x
    WHERE x.trial_id = t.trial_id AND x.key = 'flatselect:failure') AS failure
FROM flatselect_studies s CROSS JOIN (
  SELECT MIN(a.study_id) AS study_id, a.value_json AS uid_json FROM study_user_attributes a
  WHERE a.key = 'flatselect:uid' GROUP BY a.value_json) i
CROSS JOIN trials t WHERE i.uid_json = '"' || s.uid || '"' AND t.study_id = i.study_id;
CREATE VIEW flatselect_params AS 
SELECT trial_id, name,
  CASE kind WHEN 'C' THEN choices -> place
    WHEN 'I' THEN CAST(CAST(raw AS INTEGER) AS TEXT)
    ELSE CASE WHEN CAST(printf('%!.15g', raw) AS REAL) = raw
      THEN printf('%!.15g', raw) ELSE printf('%!.17g', raw) END END AS value,
  CASE WHEN kind <> 'C' THEN raw
    WHEN json_type(choices, place) IN ('integer', 'real') THEN CAST(choices ->> place AS REAL) END AS number,
  CASE WHEN kind <> 'C' THEN NULL ELSE CASE json_type(choices, place)
    WHEN 'text' THEN choices ->> place WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' END END AS text
FROM (
  SELECT p.trial_id AS trial_id, p.param_name AS name, p.param_value AS raw, p.distribution_json AS choices,
    CASE WHEN p.distribution_json LIKE '{"name": "Cat%' THEN 'C'
      WHEN p.distribution_json LIKE '{"name": "Int%' THEN 'I' ELSE 'F' END AS kind,
    '$.attributes.choices[' || CAST(p.param_value AS INTEGER) || ']' AS place
  FROM trial_params p);
CREATE VIEW flatselect_trials AS 
SELECT t.study AS study, t.number AS number, t.state AS state,
  COALESCE(a.is_calibration, 0) AS is_calibration, t.retrains AS retrains, t.retries AS retries,
  COALESCE(a.model, '') AS model,
  COALESCE((SELECT json_group_object(x.name, json(x.value)) FROM flatselect_params x WHERE x.trial_id = t.trial_id), '{}') AS params,
  COALESCE(a.attempt, 0) AS attempts,
  MAX(COALESCE(m.epochs, 0), COALESCE(c.epoch, 0)) AS epochs, COALESCE(m.seconds, 0.0) AS seconds,
  t.started_at AS started_at, t.ended_at AS ended_at, COALESCE(m.epoch, NULL) AS epoch,
  COALESCE(m.n_train_images, NULL) AS n_train_images, COALESCE(m.n_parameters, NULL) AS n_parameters,
  COALESCE(m.latency_ms, NULL) AS latency_ms, COALESCE(m.train_score, NULL) AS train_score,
  COALESCE(m.train_loss, NULL) AS train_loss, COALESCE(m.holdout_score, NULL) AS holdout_score,
  COALESCE(m.train_score - m.holdout_score, NULL) AS test_gap,
  COALESCE(m.relative_gap_flatness, NULL) AS relative_gap_flatness,
  COALESCE(m.hessian_trace, NULL) AS hessian_trace, COALESCE(m.layer, NULL) AS layer,
  COALESCE(m.exactness, NULL) AS exactness,
  CASE WHEN m.calibrator_uid = l.uid THEN m.gap END AS predicted_test_gap,
  CASE WHEN m.calibrator_uid = l.uid THEN m.gap_low END AS predicted_test_gap_low,
  CASE WHEN m.calibrator_uid = l.uid THEN m.gap_high END AS predicted_test_gap_high,
  CASE WHEN m.calibrator_uid = l.uid THEN m.score END AS predicted_test_score,
  CASE WHEN m.calibrator_uid = l.uid THEN m.score_low END AS predicted_test_score_low,
  CASE WHEN m.calibrator_uid = l.uid THEN m.score_high END AS predicted_test_score_high,
  CASE WHEN m.calibrator_uid = l.uid THEN m.extrapolation END AS extrapolation,
  COALESCE(u.score, NULL) AS audit_test_score, COALESCE(a.pruned_because, NULL) AS pruned_because,
  CASE WHEN t.state = 'FAIL' THEN COALESCE(a.failure_kind || ': ' || a.failure_message, t.failure) END AS failure,
  t.study_uid AS study_uid, t.trial_id AS trial_id
FROM flatselect_optuna_trials t
LEFT JOIN (
  SELECT k.* FROM flatselect_attempts k WHERE NOT EXISTS (SELECT 1 FROM flatselect_attempts x
    WHERE x.study_uid = k.study_uid AND x.trial_number = k.trial_number AND x.attempt > k.attempt)) a ON a.study_uid = t.study_uid AND a.trial_number = t.number
LEFT JOIN flatselect_standings m ON m.study_uid = t.study_uid AND m.trial_number = t.number
LEFT JOIN (
  SELECT k.study_uid AS study_uid, k.uid AS uid FROM flatselect_calibrators k
  WHERE k.id = (SELECT MAX(x.id) FROM flatselect_calibrators x WHERE x.study_uid = k.study_uid
    AND EXISTS (SELECT 1 FROM flatselect_predictions y WHERE y.calibrator_uid = x.uid))) l ON l.study_uid = t.study_uid
LEFT JOIN flatselect_checkpoints c ON c.study_uid = t.study_uid AND c.trial_number = t.number
LEFT JOIN flatselect_audits u ON u.study_uid = t.study_uid AND u.trial_number = t.number
WHERE t.state <> 'WAITING';
CREATE VIEW flatselect_curves AS 
SELECT t.study AS study, t.number AS trial, m.epoch AS epoch, m.attempt AS attempt, m.train_score AS train_score,
  m.train_loss AS train_loss, m.n_train_images AS n_train_images, m.n_parameters AS n_parameters,
  m.relative_gap_flatness AS relative_gap_flatness, m.hessian_trace AS hessian_trace, m.layer AS layer,
  m.exactness AS exactness, m.n_probe_images AS n_probe_images, m.companions AS companions,
  m.holdout_score AS holdout_score, m.holdout_loss AS holdout_loss, m.n_holdout_images AS n_holdout_images,
  m.train_score - m.holdout_score AS test_gap, COALESCE(p.gap, NULL) AS predicted_test_gap, COALESCE(p.gap_low, NULL) AS predicted_test_gap_low,
  COALESCE(p.gap_high, NULL) AS predicted_test_gap_high,
  COALESCE(p.score, NULL) AS predicted_test_score, COALESCE(p.score_low, NULL) AS predicted_test_score_low,
  COALESCE(p.score_high, NULL) AS predicted_test_score_high,
  COALESCE(p.extrapolation, NULL) AS extrapolation,
  m.train_seconds AS train_seconds, m.measure_seconds AS measure_seconds,
  t.study_uid AS study_uid, t.trial_id AS trial_id
FROM flatselect_optuna_trials t CROSS JOIN flatselect_measurements m
LEFT JOIN (
  SELECT k.study_uid AS study_uid, k.uid AS uid FROM flatselect_calibrators k
  WHERE k.id = (SELECT MAX(x.id) FROM flatselect_calibrators x WHERE x.study_uid = k.study_uid
    AND EXISTS (SELECT 1 FROM flatselect_predictions y WHERE y.calibrator_uid = x.uid))) l ON l.study_uid = t.study_uid
LEFT JOIN flatselect_predictions p ON p.study_uid = t.study_uid AND p.trial_number = t.number
  AND p.epoch = m.epoch AND p.calibrator_uid = l.uid
WHERE m.study_uid = t.study_uid AND m.trial_number = t.number;
CREATE VIEW flatselect_ranking AS 
SELECT t.study AS study, ROW_NUMBER() OVER (PARTITION BY t.study, t.study_uid ORDER BY
    CASE WHEN t.extrapolation IS NULL THEN 1 ELSE 0 END,
    CASE WHEN t.extrapolation IS NULL THEN t.train_score ELSE t.predicted_test_score END DESC NULLS LAST,
    CASE WHEN t.predicted_test_score IN (0.0, 1.0) AND t.train_score IS NOT NULL
      THEN t.train_score - t.predicted_test_gap ELSE t.predicted_test_score END DESC NULLS LAST,
    CASE t.state WHEN 'COMPLETE' THEN 0 ELSE 1 END,
    t.predicted_test_gap_high - t.predicted_test_gap_low,
    t.number) AS rank,
  t.number AS number, t.state AS state, t.model AS model, t.train_score AS train_score,
  t.relative_gap_flatness AS relative_gap_flatness, t.predicted_test_gap AS predicted_test_gap,
  t.predicted_test_gap_low AS predicted_test_gap_low, t.predicted_test_gap_high AS predicted_test_gap_high,
  t.predicted_test_score AS predicted_test_score, t.predicted_test_score_low AS predicted_test_score_low,
  t.predicted_test_score_high AS predicted_test_score_high, t.extrapolation AS extrapolation,
  t.audit_test_score AS audit_test_score, t.study_uid AS study_uid, t.trial_id AS trial_id
FROM flatselect_trials t
LEFT JOIN (SELECT DISTINCT x.study_uid AS study_uid, x.retrains AS number FROM flatselect_optuna_trials x
  WHERE x.state = 'COMPLETE' AND x.retrains IS NOT NULL) r ON r.study_uid = t.study_uid AND r.number = t.number
WHERE r.number IS NULL AND t.state IN ('COMPLETE', 'PRUNED')
  AND (t.state = 'COMPLETE' OR t.extrapolation IS NOT NULL);
COMMIT;
