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
INSERT INTO "flatselect_alembic_version" VALUES('0006');
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
INSERT INTO "flatselect_attempts" VALUES('90a63ad3b67143a690360823e15ca2d9',0,1,'0778c3a7f2bf4b5491a3890118391cc3','2026-11-22 14:58:34.267198','2026-11-22 14:58:36.007566','complete',NULL,NULL,NULL,NULL,1,'{"model": "cnn", "model_args": {"width": 6, "block": "residual"}, "training": {"epochs": 3, "batch_size": 64, "optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.639674555745089, "nesterov": false, "weight_decay": 0.0, "schedule": "cosine", "warmup_epochs": 0.0, "step_epochs": 10, "step_factor": 0.1, "label_smoothing": 0.0, "gradient_clip": null, "target_train_loss": null, "mixed_precision": true, "compile": false, "flatness_penalty": 0.0, "flatness_penalty_images": 32}, "augmentation": "none"}','cnn 2×1 residual w6 k3 relu');
INSERT INTO "flatselect_attempts" VALUES('90a63ad3b67143a690360823e15ca2d9',1,1,'0778c3a7f2bf4b5491a3890118391cc3','2026-11-22 14:58:36.015854','2026-11-22 14:58:36.098318','fail','NonFiniteError','the training loss is nan in epoch 1 (learning_rate = 1e+30); a lower rate or gradient_clip may help','',NULL,1,'{"model": "cnn", "model_args": {"width": 8, "block": "residual"}, "training": {"epochs": 3, "batch_size": 64, "optimizer": "sgd", "learning_rate": 1e+30, "momentum": 0.8437175487183606, "nesterov": false, "weight_decay": 0.0, "schedule": "cosine", "warmup_epochs": 0.0, "step_epochs": 10, "step_factor": 0.1, "label_smoothing": 0.0, "gradient_clip": null, "target_train_loss": null, "mixed_precision": true, "compile": false, "flatness_penalty": 0.0, "flatness_penalty_images": 32}, "augmentation": "none"}','cnn 2×1 residual w8 k3 relu');
INSERT INTO "flatselect_attempts" VALUES('90a63ad3b67143a690360823e15ca2d9',2,1,'0778c3a7f2bf4b5491a3890118391cc3','2026-11-22 14:58:36.102614','2026-11-22 14:58:36.186535','fail','NonFiniteError','the training loss is nan in epoch 1 (learning_rate = 1e+30); a lower rate or gradient_clip may help','',NULL,1,'{"model": "cnn", "model_args": {"width": 7, "block": "residual"}, "training": {"epochs": 3, "batch_size": 64, "optimizer": "sgd", "learning_rate": 1e+30, "momentum": 0.894096101936779, "nesterov": false, "weight_decay": 0.0, "schedule": "cosine", "warmup_epochs": 0.0, "step_epochs": 10, "step_factor": 0.1, "label_smoothing": 0.0, "gradient_clip": null, "target_train_loss": null, "mixed_precision": true, "compile": false, "flatness_penalty": 0.0, "flatness_penalty_images": 32}, "augmentation": "none"}','cnn 2×1 residual w7 k3 relu');
INSERT INTO "flatselect_attempts" VALUES('90a63ad3b67143a690360823e15ca2d9',3,1,'0778c3a7f2bf4b5491a3890118391cc3','2026-11-22 14:58:36.191621','2026-11-22 14:58:36.475463','complete',NULL,NULL,NULL,NULL,1,'{"model": "cnn", "model_args": {"width": 6, "block": "residual"}, "training": {"epochs": 3, "batch_size": 64, "optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.5088918889841205, "nesterov": false, "weight_decay": 0.0, "schedule": "cosine", "warmup_epochs": 0.0, "step_epochs": 10, "step_factor": 0.1, "label_smoothing": 0.0, "gradient_clip": null, "target_train_loss": null, "mixed_precision": true, "compile": false, "flatness_penalty": 0.0, "flatness_penalty_images": 32}, "augmentation": "none"}','cnn 2×1 residual w6 k3 relu');
INSERT INTO "flatselect_attempts" VALUES('90a63ad3b67143a690360823e15ca2d9',4,1,'0778c3a7f2bf4b5491a3890118391cc3','2026-11-22 14:58:36.478964','2026-11-22 14:58:36.773040','complete',NULL,NULL,NULL,NULL,1,'{"model": "cnn", "model_args": {"width": 8, "block": "residual"}, "training": {"epochs": 3, "batch_size": 64, "optimizer": "sgd", "learning_rate": 1e-06, "momentum": 0.6826896608507739, "nesterov": false, "weight_decay": 0.0, "schedule": "cosine", "warmup_epochs": 0.0, "step_epochs": 10, "step_factor": 0.1, "label_smoothing": 0.0, "gradient_clip": null, "target_train_loss": null, "mixed_precision": true, "compile": false, "flatness_penalty": 0.0, "flatness_penalty_images": 32}, "augmentation": "none"}','cnn 2×1 residual w8 k3 relu');
INSERT INTO "flatselect_attempts" VALUES('90a63ad3b67143a690360823e15ca2d9',5,1,'0778c3a7f2bf4b5491a3890118391cc3','2026-11-22 14:58:36.776860','2026-11-22 14:58:37.047257','complete',NULL,NULL,NULL,NULL,1,'{"model": "cnn", "model_args": {"width": 4, "block": "residual"}, "training": {"epochs": 3, "batch_size": 64, "optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.6444675013921333, "nesterov": false, "weight_decay": 0.0, "schedule": "cosine", "warmup_epochs": 0.0, "step_epochs": 10, "step_factor": 0.1, "label_smoothing": 0.0, "gradient_clip": null, "target_train_loss": null, "mixed_precision": true, "compile": false, "flatness_penalty": 0.0, "flatness_penalty_images": 32}, "augmentation": "none"}','cnn 2×1 residual w4 k3 relu');
INSERT INTO "flatselect_attempts" VALUES('90a63ad3b67143a690360823e15ca2d9',6,1,'0778c3a7f2bf4b5491a3890118391cc3','2026-11-22 14:58:37.100003','2026-11-22 14:58:37.239704','pruned',NULL,NULL,NULL,'epoch 2: upper bound 0.1599 of its predicted final value < 0.1667, the best of the 4 finished trials (trial 5)',0,'{"model": "cnn", "model_args": {"width": 8, "block": "plain"}, "training": {"epochs": 3, "batch_size": 64, "optimizer": "sgd", "learning_rate": 1e-06, "momentum": 0.5361475028525474, "nesterov": false, "weight_decay": 0.0, "schedule": "cosine", "warmup_epochs": 0.0, "step_epochs": 10, "step_factor": 0.1, "label_smoothing": 0.0, "gradient_clip": null, "target_train_loss": null, "mixed_precision": true, "compile": false, "flatness_penalty": 0.0, "flatness_penalty_images": 32}, "augmentation": "none"}','cnn 2×1 plain w8 k3 relu');
INSERT INTO "flatselect_attempts" VALUES('90a63ad3b67143a690360823e15ca2d9',7,1,'0778c3a7f2bf4b5491a3890118391cc3','2026-11-22 14:58:37.243391','2026-11-22 14:58:37.434466','complete',NULL,NULL,NULL,NULL,0,'{"model": "cnn", "model_args": {"width": 6, "block": "plain"}, "training": {"epochs": 3, "batch_size": 64, "optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.7435281974987025, "nesterov": false, "weight_decay": 0.0, "schedule": "cosine", "warmup_epochs": 0.0, "step_epochs": 10, "step_factor": 0.1, "label_smoothing": 0.0, "gradient_clip": null, "target_train_loss": null, "mixed_precision": true, "compile": false, "flatness_penalty": 0.0, "flatness_penalty_images": 32}, "augmentation": "none"}','cnn 2×1 plain w6 k3 relu');
INSERT INTO "flatselect_attempts" VALUES('90a63ad3b67143a690360823e15ca2d9',8,1,'0778c3a7f2bf4b5491a3890118391cc3','2026-11-22 14:58:37.437863','2026-11-22 14:58:37.561829','pruned',NULL,NULL,NULL,'epoch 2: upper bound 0.2208 of its predicted final value < 0.352, the best of the 5 finished trials (trial 7)',0,'{"model": "cnn", "model_args": {"width": 8, "block": "plain"}, "training": {"epochs": 3, "batch_size": 64, "optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.5433207020157216, "nesterov": false, "weight_decay": 0.0, "schedule": "cosine", "warmup_epochs": 0.0, "step_epochs": 10, "step_factor": 0.1, "label_smoothing": 0.0, "gradient_clip": null, "target_train_loss": null, "mixed_precision": true, "compile": false, "flatness_penalty": 0.0, "flatness_penalty_images": 32}, "augmentation": "none"}','cnn 2×1 plain w8 k3 relu');
INSERT INTO "flatselect_attempts" VALUES('90a63ad3b67143a690360823e15ca2d9',9,1,'0778c3a7f2bf4b5491a3890118391cc3','2026-11-22 14:58:37.565296','2026-11-22 14:58:37.609674','fail','NonFiniteError','the training loss is nan in epoch 1 (learning_rate = 1e+30); a lower rate or gradient_clip may help','',NULL,0,'{"model": "cnn", "model_args": {"width": 4, "block": "plain"}, "training": {"epochs": 3, "batch_size": 64, "optimizer": "sgd", "learning_rate": 1e+30, "momentum": 0.6738954587476769, "nesterov": false, "weight_decay": 0.0, "schedule": "cosine", "warmup_epochs": 0.0, "step_epochs": 10, "step_factor": 0.1, "label_smoothing": 0.0, "gradient_clip": null, "target_train_loss": null, "mixed_precision": true, "compile": false, "flatness_penalty": 0.0, "flatness_penalty_images": 32}, "augmentation": "none"}','cnn 2×1 plain w4 k3 relu');
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
INSERT INTO "flatselect_audits" VALUES('90a63ad3b67143a690360823e15ca2d9',0,0.06,2.34221862792968771316e+00,50,'2026-11-22 14:58:37.631869','0a5f8b002a26ea3a4bf18ee3ba53249edc6dcd737886ced7dababc81a247a7a1');
INSERT INTO "flatselect_audits" VALUES('90a63ad3b67143a690360823e15ca2d9',3,0.1,2.3664524841308591796e+00,50,'2026-11-22 14:58:37.645709','0a5f8b002a26ea3a4bf18ee3ba53249edc6dcd737886ced7dababc81a247a7a1');
INSERT INTO "flatselect_audits" VALUES('90a63ad3b67143a690360823e15ca2d9',4,0.1,2.32787887573242180394e+00,50,'2026-11-22 14:58:37.658940','0a5f8b002a26ea3a4bf18ee3ba53249edc6dcd737886ced7dababc81a247a7a1');
INSERT INTO "flatselect_audits" VALUES('90a63ad3b67143a690360823e15ca2d9',5,0.2,2.30281661987304708816e+00,50,'2026-11-22 14:58:37.671679','0a5f8b002a26ea3a4bf18ee3ba53249edc6dcd737886ced7dababc81a247a7a1');
INSERT INTO "flatselect_audits" VALUES('90a63ad3b67143a690360823e15ca2d9',6,0.1,2.31153930664062512434e+00,50,'2026-11-22 14:58:37.680047','0a5f8b002a26ea3a4bf18ee3ba53249edc6dcd737886ced7dababc81a247a7a1');
INSERT INTO "flatselect_audits" VALUES('90a63ad3b67143a690360823e15ca2d9',7,0.06,2.31307418823242194605e+00,50,'2026-11-22 14:58:37.687880','0a5f8b002a26ea3a4bf18ee3ba53249edc6dcd737886ced7dababc81a247a7a1');
INSERT INTO "flatselect_audits" VALUES('90a63ad3b67143a690360823e15ca2d9',8,0.08,2.3001341247558593217e+00,50,'2026-11-22 14:58:37.695513','0a5f8b002a26ea3a4bf18ee3ba53249edc6dcd737886ced7dababc81a247a7a1');
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
INSERT INTO "flatselect_calibrators" VALUES(1,'cafd4c9b756b5ea7cb5c19b3cf682fa5','90a63ad3b67143a690360823e15ca2d9','2026-11-22 14:58:37.077889','{"schema": "flatselect.gap_predictor", "schema_version": 1, "specification": {"estimator": "ridge", "coverage": 0.9}, "features": {"log_relative_gap_flatness": "log10 of the mean relative GAP flatness κ of the probe images", "log_temperature_flat_ratio": "log10 of κ / (mean gini · mean logit variance)", "log_train_loss": "log10 of the mean cross-entropy (nats) on the training images", "train_score": "accuracy on the training images", "train_score_power_8": "its 8th power: the gap opens as a network nears 1 and begins to memorise", "mean_confidence": "mean of the largest class probability", "confidence_q10": "10 % quantile of the largest class probability", "log_gini": "log10 of the mean of 1 - sum of squared class probabilities", "log_logit_variance": "log10 of the mean variance of an image''s logits", "margin_q10": "10 % quantile of the two largest logits'' difference", "margin_q50": "median of the two largest logits'' difference", "log_head_frobenius_norm": "log10 of the Frobenius norm of the linear classifier''s weight", "log_feature_norm": "log10 of the mean norm of the pooled features", "log_n_train_images": "log10 of the number of images trained on", "log_n_parameters": "log10 of the number of trainable parameters", "log_n_classes": "log10 of the number of classes", "relative_margin_q10": "margin_q10 / standard deviation of an image''s logits", "relative_margin_q50": "margin_q50 / standard deviation of an image''s logits", "log_davies_bouldin": "log10 of the Davies-Bouldin index of the pooled features by label", "log_head_soft_rank": "log10 of the soft rank of the classifier''s curvature", "log_head_tic": "log10 of Takeuchi''s penalty of the classifier", "log_last_linear_ratio": "log10 of last_linear_flatness_normalized / (mean gini · mean logit variance)", "augmentation_agreement": "share of predictions that stay when images are turned, scaled and moved", "augmentation_accuracy": "accuracy on training images turned, scaled and moved", "log_augmentation_loss": "log10 of the cross-entropy (nats) on training images turned, scaled and moved", "mixup_agreement": "share of predictions that stay when images are mixed with another, in shares 0.6 to 1", "mixup_accuracy": "accuracy on training images mixed with another, of the larger share''s label", "log_mixup_loss": "log10 of the cross-entropy (nats) on mixed training images, labels mixed alike", "noise_agreement": "share of predictions that stay under Gaussian noise of 0.25 standard deviations", "noise_accuracy": "accuracy on training images under Gaussian noise of 0.25 standard deviations", "log_noise_loss": "log10 of the cross-entropy (nats) under Gaussian noise of 0.25 standard deviations", "unlabeled_confidence": "mean of the largest class probability on unlabelled images", "log_unlabeled_gini": "log10 of the mean gini on unlabelled images", "unlabeled_nuclear_norm": "nuclear norm of the class probabilities of unlabelled images, at most 1", "unlabeled_threshold_score": "share of unlabelled images surer than the least sure training images (ATC)", "unlabeled_agreement": "mean share of unlabelled images on which another candidate predicts the same class", "unlabeled_agreement_lead": "unlabeled_agreement less its mean over all candidates"}, "metadata": {"sources": [{"kind": "study", "name": "released", "uid": "90a63ad3b67143a690360823e15ca2d9", "data_fingerprint": "986f14fbe4dce9d90add283bcecdaeb95cbc34704d1eaff160334b98407ec54f", "n_rows": 12, "n_groups": 4}]}, "rows": [{"group": "0", "epoch": 1, "features": {"log_relative_gap_flatness": 0.9250597689665756, "log_temperature_flat_ratio": 1.6118073287937973, "log_train_loss": 0.3790078804097141, "train_score": 0.08333333333333333, "train_score_power_8": 2.325680393613777e-09, "mean_confidence": 0.16694269418284388, "confidence_q10": 0.15384882710866582, "log_gini": -0.05510314997025216, "log_logit_variance": -0.6316444098569695, "margin_q10": 0.0051005840301513675, "margin_q50": 0.03906276822090149, "log_head_frobenius_norm": 0.2735722243498829, "log_feature_norm": 0.5261131378110064, "log_n_train_images": 1.9822712330395684, "log_n_parameters": 3.470704429722788, "log_n_classes": 1.0, "relative_margin_q10": 0.010554608086345212, "relative_margin_q50": 0.08083235309959598, "log_davies_bouldin": null, "log_head_soft_rank": null, "log_head_tic": null, "log_last_linear_ratio": null, "augmentation_agreement": null, "augmentation_accuracy": null, "log_augmentation_loss": null, "mixup_agreement": null, "mixup_accuracy": null, "log_mixup_loss": null, "noise_agreement": null, "noise_accuracy": null, "log_noise_loss": null, "unlabeled_confidence": null, "log_unlabeled_gini": null, "unlabeled_nuclear_norm": null, "unlabeled_threshold_score": null, "unlabeled_agreement": null, "unlabeled_agreement_lead": null}, "test_gap": 0.0}, {"group": "0", "epoch": 2, "features": {"log_relative_gap_flatness": 0.7627913966094038, "log_temperature_flat_ratio": 1.650455851690622, "log_train_loss": 0.3710199033890384, "train_score": 0.07291666666666667, "train_score_power_8": 7.991245185604757e-10, "mean_confidence": 0.15295434989624865, "confidence_q10": 0.1416978901050312, "log_gini": -0.0516865978027048, "log_logit_variance": -0.8359778572785135, "margin_q10": 0.01960493326187134, "margin_q50": 0.04886384308338165, "log_head_frobenius_norm": 0.2723903521843402, "log_feature_norm": 0.44331570264868936, "log_n_train_images": 1.9822712330395684, "log_n_parameters": 3.470704429722788, "log_n_classes": 1.0, "relative_margin_q10": 0.05132799463507424, "relative_margin_q50": 0.12793122231692414, "log_davies_bouldin": null, "log_head_soft_rank": null, "log_head_tic": null, "log_last_linear_ratio": null, "augmentation_agreement": null, "augmentation_accuracy": null, "log_augmentation_loss": null, "mixup_agreement": null, "mixup_accuracy": null, "log_mixup_loss": null, "noise_agreement": null, "noise_accuracy": null, "log_noise_loss": null, "unlabeled_confidence": null, "log_unlabeled_gini": null, "unlabeled_nuclear_norm": null, "unlabeled_threshold_score": null, "unlabeled_agreement": null, "unlabeled_agreement_lead": null}, "test_gap": 0.03125000000000001}, {"group": "0", "epoch": 3, "features": {"log_relative_gap_flatness": 0.6414243342133579, "log_temperature_flat_ratio": 1.6735859484409825, "log_train_loss": 0.36737868882334407, "train_score": 0.08333333333333333, "train_score_power_8": 2.325680393613777e-09, "mean_confidence": 0.14448219140868862, "confidence_q10": 0.13307749462549434, "log_gini": -0.05000782492505309, "log_logit_variance": -0.9821537893025717, "margin_q10": 0.014686311781406404, "margin_q50": 0.05525427311658859, "log_head_frobenius_norm": 0.2720585450272388, "log_feature_norm": 0.38047615064946794, "log_n_train_images": 1.9822712330395684, "log_n_parameters": 3.470704429722788, "log_n_classes": 1.0, "relative_margin_q10": 0.04549772049906685, "relative_margin_q50": 0.17117595704460176, "log_davies_bouldin": null, "log_head_soft_rank": null, "log_head_tic": null, "log_last_linear_ratio": null, "augmentation_agreement": null, "augmentation_accuracy": null, "log_augmentation_loss": null, "mixup_agreement": null, "mixup_accuracy": null, "log_mixup_loss": null, "noise_agreement": null, "noise_accuracy": null, "log_noise_loss": null, "unlabeled_confidence": null, "log_unlabeled_gini": null, "unlabeled_nuclear_norm": null, "unlabeled_threshold_score": null, "unlabeled_agreement": null, "unlabeled_agreement_lead": null}, "test_gap": 0.0}, {"group": "3", "epoch": 1, "features": {"log_relative_gap_flatness": 0.42061764103031996, "log_temperature_flat_ratio": 0.9827007291123775, "log_train_loss": 0.3900144783332879, "train_score": 0.09375, "train_score_power_8": 5.967194738332182e-09, "mean_confidence": 0.28416796051852067, "confidence_q10": 0.24749877312457177, "log_gini": -0.06862011582420888, "log_logit_variance": -0.4934629722578485, "margin_q10": 0.5949708580970764, "margin_q50": 0.7271829694509506, "log_head_frobenius_norm": 0.26603937942868183, "log_feature_norm": 0.47564642666503754, "log_n_train_images": 1.9822712330395684, "log_n_parameters": 3.470704429722788, "log_n_classes": 1.0, "relative_margin_q10": 1.0500915903906165, "relative_margin_q50": 1.2834388617587185, "log_davies_bouldin": null, "log_head_soft_rank": null, "log_head_tic": null, "log_last_linear_ratio": null, "augmentation_agreement": null, "augmentation_accuracy": null, "log_augmentation_loss": null, "mixup_agreement": null, "mixup_accuracy": null, "log_mixup_loss": null, "noise_agreement": null, "noise_accuracy": null, "log_noise_loss": null, "unlabeled_confidence": null, "log_unlabeled_gini": null, "unlabeled_nuclear_norm": null, "unlabeled_threshold_score": null, "unlabeled_agreement": null, "unlabeled_agreement_lead": null}, "test_gap": -0.03125}, {"group": "3", "epoch": 2, "features": {"log_relative_gap_flatness": 0.30757307166997966, "log_temperature_flat_ratio": 1.101700054689106, "log_train_loss": 0.37502129798429606, "train_score": 0.09375, "train_score_power_8": 5.967194738332182e-09, "mean_confidence": 0.22390551165675432, "confidence_q10": 0.19218240490570665, "log_gini": -0.05691472507978138, "log_logit_variance": -0.737212257939345, "margin_q10": 0.4270712673664093, "margin_q50": 0.5483880750834942, "log_head_frobenius_norm": 0.2644093722224609, "log_feature_norm": 0.3673021789990328, "log_n_train_images": 1.9822712330395684, "log_n_parameters": 3.470704429722788, "log_n_classes": 1.0, "relative_margin_q10": 0.9979447155645664, "relative_margin_q50": 1.281427769615488, "log_davies_bouldin": null, "log_head_soft_rank": null, "log_head_tic": null, "log_last_linear_ratio": null, "augmentation_agreement": null, "augmentation_accuracy": null, "log_augmentation_loss": null, "mixup_agreement": null, "mixup_accuracy": null, "log_mixup_loss": null, "noise_agreement": null, "noise_accuracy": null, "log_noise_loss": null, "unlabeled_confidence": null, "log_unlabeled_gini": null, "unlabeled_nuclear_norm": null, "unlabeled_threshold_score": null, "unlabeled_agreement": null, "unlabeled_agreement_lead": null}, "test_gap": -0.03125}, {"group": "3", "epoch": 3, "features": {"log_relative_gap_flatness": 0.24237042695395566, "log_temperature_flat_ratio": 1.1894961401948745, "log_train_loss": 0.3690949792247046, "train_score": 0.09375, "train_score_power_8": 5.967194738332182e-09, "mean_confidence": 0.19527867778143482, "confidence_q10": 0.16340622172755664, "log_gini": -0.05284738066438349, "log_logit_variance": -0.8942783325765354, "margin_q10": 0.34096755012869834, "margin_q50": 0.45300501957535744, "log_head_frobenius_norm": 0.2641664966928019, "log_feature_norm": 0.28807942801632275, "log_n_train_images": 1.9822712330395684, "log_n_parameters": 3.470704429722788, "log_n_classes": 1.0, "relative_margin_q10": 0.9546676702311679, "relative_margin_q50": 1.2683589581407246, "log_davies_bouldin": null, "log_head_soft_rank": null, "log_head_tic": null, "log_last_linear_ratio": null, "augmentation_agreement": null, "augmentation_accuracy": null, "log_augmentation_loss": null, "mixup_agreement": null, "mixup_accuracy": null, "log_mixup_loss": null, "noise_agreement": null, "noise_accuracy": null, "log_noise_loss": null, "unlabeled_confidence": null, "log_unlabeled_gini": null, "unlabeled_nuclear_norm": null, "unlabeled_threshold_score": null, "unlabeled_agreement": null, "unlabeled_agreement_lead": null}, "test_gap": -0.03125}, {"group": "4", "epoch": 1, "features": {"log_relative_gap_flatness": 0.7645285088252229, "log_temperature_flat_ratio": 1.9832107496989488, "log_train_loss": 0.3709748361308373, "train_score": 0.09375, "train_score_power_8": 5.967194738332182e-09, "mean_confidence": 0.15741397831070736, "confidence_q10": 0.1435009068491524, "log_gini": -0.04910398683668367, "log_logit_variance": -1.169578254037042, "margin_q10": 0.14786600619554519, "margin_q50": 0.24456211924552917, "log_head_frobenius_norm": 0.2796211021740506, "log_feature_norm": 0.3735671606209935, "log_n_train_images": 1.9822712330395684, "log_n_parameters": 3.709439574132411, "log_n_classes": 1.0, "relative_margin_q10": 0.5684044507748901, "relative_margin_q50": 0.9401092289343661, "log_davies_bouldin": null, "log_head_soft_rank": null, "log_head_tic": null, "log_last_linear_ratio": null, "augmentation_agreement": null, "augmentation_accuracy": null, "log_augmentation_loss": null, "mixup_agreement": null, "mixup_accuracy": null, "log_mixup_loss": null, "noise_agreement": null, "noise_accuracy": null, "log_noise_loss": null, "unlabeled_confidence": null, "log_unlabeled_gini": null, "unlabeled_nuclear_norm": null, "unlabeled_threshold_score": null, "unlabeled_agreement": null, "unlabeled_agreement_lead": null}, "test_gap": -0.03125}, {"group": "4", "epoch": 2, "features": {"log_relative_gap_flatness": 0.6273319739697188, "log_temperature_flat_ratio": 2.00130022077379, "log_train_loss": 0.36842971618638554, "train_score": 0.10416666666666667, "train_score_power_8": 1.3862135372243996e-08, "mean_confidence": 0.14443291848112147, "confidence_q10": 0.13263874621485255, "log_gini": -0.04798146805490259, "log_logit_variance": -1.3259867787491684, "margin_q10": 0.10698335319757461, "margin_q50": 0.2005469650030136, "log_head_frobenius_norm": 0.2796210731715965, "log_feature_norm": 0.31223199305168187, "log_n_train_images": 1.9822712330395684, "log_n_parameters": 3.709439574132411, "log_n_classes": 1.0, "relative_margin_q10": 0.49239042073820594, "relative_margin_q50": 0.923016539715665, "log_davies_bouldin": null, "log_head_soft_rank": null, "log_head_tic": null, "log_last_linear_ratio": null, "augmentation_agreement": null, "augmentation_accuracy": null, "log_augmentation_loss": null, "mixup_agreement": null, "mixup_accuracy": null, "log_mixup_loss": null, "noise_agreement": null, "noise_accuracy": null, "log_noise_loss": null, "unlabeled_confidence": null, "log_unlabeled_gini": null, "unlabeled_nuclear_norm": null, "unlabeled_threshold_score": null, "unlabeled_agreement": null, "unlabeled_agreement_lead": null}, "test_gap": -0.02083333333333333}, {"group": "4", "epoch": 3, "features": {"log_relative_gap_flatness": 0.5454096696823992, "log_temperature_flat_ratio": 2.013842072568579, "log_train_loss": 0.3670455790965483, "train_score": 0.10416666666666667, "train_score_power_8": 1.3862135372243996e-08, "mean_confidence": 0.13582198274193738, "confidence_q10": 0.12469146958835267, "log_gini": -0.04747464128094546, "log_logit_variance": -1.4209577616052345, "margin_q10": 0.05882966816425324, "margin_q50": 0.14904607087373734, "log_head_frobenius_norm": 0.2796210662958763, "log_feature_norm": 0.27327168041429933, "log_n_train_images": 1.9822712330395684, "log_n_parameters": 3.709439574132411, "log_n_classes": 1.0, "relative_margin_q10": 0.30204752365675275, "relative_margin_q50": 0.7652430826651541, "log_davies_bouldin": null, "log_head_soft_rank": null, "log_head_tic": null, "log_last_linear_ratio": null, "augmentation_agreement": null, "augmentation_accuracy": null, "log_augmentation_loss": null, "mixup_agreement": null, "mixup_accuracy": null, "log_mixup_loss": null, "noise_agreement": null, "noise_accuracy": null, "log_noise_loss": null, "unlabeled_confidence": null, "log_unlabeled_gini": null, "unlabeled_nuclear_norm": null, "unlabeled_threshold_score": null, "unlabeled_agreement": null, "unlabeled_agreement_lead": null}, "test_gap": 0.020833333333333343}, {"group": "5", "epoch": 1, "features": {"log_relative_gap_flatness": 0.107023674235593, "log_temperature_flat_ratio": 1.2701928141183916, "log_train_loss": 0.3706905754957935, "train_score": 0.10416666666666667, "train_score_power_8": 1.3862135372243996e-08, "mean_confidence": 0.14499683122479254, "confidence_q10": 0.13700483059939658, "log_gini": -0.049293900649711855, "log_logit_variance": -1.1138752392330868, "margin_q10": 0.018527066707611086, "margin_q50": 0.06644634902477264, "log_head_frobenius_norm": 0.2512290510729272, "log_feature_norm": 0.23722054737224926, "log_n_train_images": 1.9822712330395684, "log_n_parameters": 3.1405080430381798, "log_n_classes": 1.0, "relative_margin_q10": 0.06679505085360446, "relative_margin_q50": 0.23955693214634735, "log_davies_bouldin": null, "log_head_soft_rank": null, "log_head_tic": null, "log_last_linear_ratio": null, "augmentation_agreement": null, "augmentation_accuracy": null, "log_augmentation_loss": null, "mixup_agreement": null, "mixup_accuracy": null, "log_mixup_loss": null, "noise_agreement": null, "noise_accuracy": null, "log_noise_loss": null, "unlabeled_confidence": null, "log_unlabeled_gini": null, "unlabeled_nuclear_norm": null, "unlabeled_threshold_score": null, "unlabeled_agreement": null, "unlabeled_agreement_lead": null}, "test_gap": 0.020833333333333343}, {"group": "5", "epoch": 2, "features": {"log_relative_gap_flatness": -0.032376721669355076, "log_temperature_flat_ratio": 1.3361779054814427, "log_train_loss": 0.3672862794473897, "train_score": 0.11458333333333333, "train_score_power_8": 2.9714718266647392e-08, "mean_confidence": 0.13427456151463898, "confidence_q10": 0.1262119197534565, "log_gini": -0.04797707070688503, "log_logit_variance": -1.3205775564439126, "margin_q10": 0.005923455953598023, "margin_q50": 0.05137401074171066, "log_head_frobenius_norm": 0.24895423920340945, "log_feature_norm": 0.15090116656624109, "log_n_train_images": 1.9822712330395684, "log_n_parameters": 3.1405080430381798, "log_n_classes": 1.0, "relative_margin_q10": 0.02709342699931287, "relative_margin_q50": 0.23498073094423652, "log_davies_bouldin": null, "log_head_soft_rank": null, "log_head_tic": null, "log_last_linear_ratio": null, "augmentation_agreement": null, "augmentation_accuracy": null, "log_augmentation_loss": null, "mixup_agreement": null, "mixup_accuracy": null, "log_mixup_loss": null, "noise_agreement": null, "noise_accuracy": null, "log_noise_loss": null, "unlabeled_confidence": null, "log_unlabeled_gini": null, "unlabeled_nuclear_norm": null, "unlabeled_threshold_score": null, "unlabeled_agreement": null, "unlabeled_agreement_lead": null}, "test_gap": -0.05208333333333333}, {"group": "5", "epoch": 3, "features": {"log_relative_gap_flatness": -0.09162028485200044, "log_temperature_flat_ratio": 1.387573861546768, "log_train_loss": 0.36602088138836114, "train_score": 0.125, "train_score_power_8": 5.960464477539063e-08, "mean_confidence": 0.12975846878971606, "confidence_q10": 0.12110336436092951, "log_gini": -0.04748682217974186, "log_logit_variance": -1.4317073242190268, "margin_q10": 0.0025037929415702826, "margin_q50": 0.03557782620191574, "log_head_frobenius_norm": 0.24842733617588836, "log_feature_norm": 0.08944391106879997, "log_n_train_images": 1.9822712330395684, "log_n_parameters": 3.1405080430381798, "log_n_classes": 1.0, "relative_margin_q10": 0.013015236763805126, "relative_margin_q50": 0.18494094454513219, "log_davies_bouldin": null, "log_head_soft_rank": null, "log_head_tic": null, "log_last_linear_ratio": null, "augmentation_agreement": null, "augmentation_accuracy": null, "log_augmentation_loss": null, "mixup_agreement": null, "mixup_accuracy": null, "log_mixup_loss": null, "noise_agreement": null, "noise_accuracy": null, "log_noise_loss": null, "unlabeled_confidence": null, "log_unlabeled_gini": null, "unlabeled_nuclear_norm": null, "unlabeled_threshold_score": null, "unlabeled_agreement": null, "unlabeled_agreement_lead": null}, "test_gap": -0.04166666666666666}]}','{"estimator": "ridge", "estimator_choice": {"name": "ridge", "scores": {}, "reason": "asked for"}, "coverage": 0.9, "n_rows": 12, "n_groups": 4, "features": ["log_relative_gap_flatness", "log_temperature_flat_ratio", "log_train_loss", "train_score", "train_score_power_8", "mean_confidence", "confidence_q10", "log_gini", "log_logit_variance", "margin_q10", "margin_q50", "log_head_frobenius_norm", "log_feature_norm", "log_n_parameters", "relative_margin_q10", "relative_margin_q50"], "hyper_parameters": {"name": "ridge", "penalty": 0.31622776601683794}, "cross_validated": {"mae": 0.022792629898897826, "r2": -0.4859182839475096, "spearman": 0.4665706743450368, "kendall": 0.3341054755153317, "coverage": 0.9166666666666667, "interval_width": 0.15685732727078686, "reliability": [{"nominal": 0.5, "observed": 0.75}, {"nominal": 0.6, "observed": 0.8333333333333334}, {"nominal": 0.7, "observed": 0.9166666666666667}, {"nominal": 0.8, "observed": 0.9166666666666667}, {"nominal": 0.9, "observed": 0.9166666666666667}, {"nominal": 0.95, "observed": 0.9166666666666667}]}, "flatness_lift": {"mae": 0.022792629898897826, "mae_without_flatness": 0.022729465837229075, "lift": -6.316406166875094e-05, "p_value": 0.5625, "n_groups": 4, "features": ["log_relative_gap_flatness", "log_temperature_flat_ratio"]}}',12);
CREATE TABLE flatselect_checkpoint_rankings (
	uid TEXT NOT NULL, 
	created_at DATETIME NOT NULL, 
	data_fingerprint TEXT NOT NULL, 
	unlabeled TEXT, 
	calibrator JSON, 
	versions JSON NOT NULL, 
	CONSTRAINT pk_flatselect_checkpoint_rankings PRIMARY KEY (uid)
);
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
INSERT INTO "flatselect_checkpoints" VALUES('90a63ad3b67143a690360823e15ca2d9',0,3,'/studies/released-checkpoints/90a63ad3/trial-00000.pt','8f7004097e7102f8f018a2ebfc647645c7095cc6c2c62e434a4b343ac593dc73',43893);
INSERT INTO "flatselect_checkpoints" VALUES('90a63ad3b67143a690360823e15ca2d9',3,3,'/studies/released-checkpoints/90a63ad3/trial-00003.pt','0199ea87dd6388dd9831df615d939de4b73ae6a8941f8bd88baa880fede547b9',43893);
INSERT INTO "flatselect_checkpoints" VALUES('90a63ad3b67143a690360823e15ca2d9',4,3,'/studies/released-checkpoints/90a63ad3/trial-00004.pt','4e05b687da09c64509113e0820d356103929b9d5d8a1af634dd56ba2bde6732d',62261);
INSERT INTO "flatselect_checkpoints" VALUES('90a63ad3b67143a690360823e15ca2d9',5,3,'/studies/released-checkpoints/90a63ad3/trial-00005.pt','cabadc40a462457b801aff8d7eaa4c045788f1d4722abf5299d150936aa9c1ce',31797);
INSERT INTO "flatselect_checkpoints" VALUES('90a63ad3b67143a690360823e15ca2d9',6,2,'/studies/released-checkpoints/90a63ad3/trial-00006.pt','8865462c5580f17832eef52abeac3f2bed4c0d1729316428727b3ce01e68d4c9',28294);
INSERT INTO "flatselect_checkpoints" VALUES('90a63ad3b67143a690360823e15ca2d9',7,3,'/studies/released-checkpoints/90a63ad3/trial-00007.pt','f75f62981c7bd1dfd5010d854c29cdf204a82ac078172758cbf257ec8a9a0501',21574);
INSERT INTO "flatselect_checkpoints" VALUES('90a63ad3b67143a690360823e15ca2d9',8,2,'/studies/released-checkpoints/90a63ad3/trial-00008.pt','f4d33a62b7890b03087fadf023184e2c2e306f6b2d30aa1f54bbb4adb30d9be6',28294);
CREATE TABLE flatselect_datasets (
	fingerprint TEXT NOT NULL, 
	name TEXT, 
	n_images INTEGER, 
	n_classes INTEGER, 
	details JSON NOT NULL, 
	CONSTRAINT pk_flatselect_datasets PRIMARY KEY (fingerprint)
);
INSERT INTO "flatselect_datasets" VALUES('986f14fbe4dce9d90add283bcecdaeb95cbc34704d1eaff160334b98407ec54f','digits',120,10,'{"class_names": ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"], "input_shape": [1, 8, 8], "mean": [0.29956290849673206], "std": [0.37210650692828706]}');
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
INSERT INTO "flatselect_measurements" VALUES('90a63ad3b67143a690360823e15ca2d9',0,1,1,8.33333333333333287074e-02,2.39335918426513671875e+00,96,2956,8.41510945047814651331e+00,8.93027107741234793536e+00,'stages.1.0.second.conv','hessian',32,'{"n_classes": 10.0, "mean_confidence": 0.16694269418284388, "confidence_q10": 0.15384882710866582, "gini": 0.8808396385435289, "logit_variance": 0.23353694254350055, "margin_q10": 0.0051005840301513675, "margin_q50": 0.03906276822090149, "temperature_flat_ratio": 40.90791348439159, "head_frobenius_norm": 1.8774666202037853, "feature_norm": 3.3582508845328074}',8.33333333333333287074e-02,2.38834110895792628426e+00,24,6.98658239998621866106e-02,2.86685350001789629459e-02);
INSERT INTO "flatselect_measurements" VALUES('90a63ad3b67143a690360823e15ca2d9',0,2,1,7.29166666666666712925e-02,2.34974050521850585937e+00,96,2956,5.79150447976554350049e+00,6.12136760490392894951e+00,'stages.1.0.second.conv','hessian',32,'{"n_classes": 10.0, "mean_confidence": 0.15295434989624865, "confidence_q10": 0.1416978901050312, "gini": 0.8877964461207327, "logit_variance": 0.145888864054656, "margin_q10": 0.01960493326187134, "margin_q50": 0.04886384308338165, "temperature_flat_ratio": 44.715269406427275, "head_frobenius_norm": 1.8723643011081463, "feature_norm": 2.775336853302986}',4.16666666666666643537e-02,2.35402186711629246573e+00,24,0.0672445489999518,2.20748720003030030056e-02);
INSERT INTO "flatselect_measurements" VALUES('90a63ad3b67143a690360823e15ca2d9',0,3,1,8.33333333333333287074e-02,2.33012215296427394051e+00,96,2956,4.37949801881231870481e+00,4.63932530689471267493e+00,'stages.1.0.second.conv','hessian',32,'{"n_classes": 10.0, "mean_confidence": 0.14448219140868862, "confidence_q10": 0.13307749462549434, "gini": 0.8912348801149164, "logit_variance": 0.10419483966312434, "margin_q10": 0.014686311781406404, "margin_q50": 0.05525427311658859, "temperature_flat_ratio": 47.16131960503162, "head_frobenius_norm": 1.8709343344958598, "feature_norm": 2.4014643874659116}',8.33333333333333287074e-02,2.34058602650960301261e+00,24,5.78273909995914436876e-02,1.97360769998340401798e-02);
INSERT INTO "flatselect_measurements" VALUES('90a63ad3b67143a690360823e15ca2d9',3,1,1,0.09375,2.45479075113932276863e+00,96,2956,2.63401134404514,2.41904538123371670721e+00,'stages.1.0.second.conv','hessian',32,'{"n_classes": 10.0, "mean_confidence": 0.28416796051852067, "confidence_q10": 0.24749877312457177, "gini": 0.8538466604903496, "logit_variance": 0.3210236495788644, "margin_q10": 0.5949708580970764, "margin_q50": 0.7271829694509506, "temperature_flat_ratio": 9.609498628111533, "head_frobenius_norm": 1.845182722588222, "feature_norm": 2.9898295275347566}',0.125,2.47742780049641941886e+00,24,5.96610800002963514998e-02,1.98000479995243949815e-02);
INSERT INTO "flatselect_measurements" VALUES('90a63ad3b67143a690360823e15ca2d9',3,2,1,0.09375,2.37149000167846679687e+00,96,2956,2.03036010679972456216e+00,1.88644035616070371297e+00,'stages.1.0.second.conv','hessian',32,'{"n_classes": 10.0, "mean_confidence": 0.22390551165675432, "confidence_q10": 0.19218240490570665, "gini": 0.8771730395827073, "logit_variance": 0.1831419112221893, "margin_q10": 0.4270712673664093, "margin_q50": 0.5483880750834942, "temperature_flat_ratio": 12.638631593848801, "head_frobenius_norm": 1.8382703069532158, "feature_norm": 2.329711690613696}',0.125,2.40198167165120457511e+00,24,5.77880090004327939823e-02,1.88197949992172652855e-02);
INSERT INTO "flatselect_measurements" VALUES('90a63ad3b67143a690360823e15ca2d9',3,3,1,0.09375,2.33934879302978515625e+00,96,2956,1.74731186896682522124e+00,1.64937232660514254689e+00,'stages.1.0.second.conv','hessian',32,'{"n_classes": 10.0, "mean_confidence": 0.19527867778143482, "confidence_q10": 0.16340622172755664, "gini": 0.8854267109398247, "logit_variance": 0.12756210211197852, "margin_q10": 0.34096755012869834, "margin_q50": 0.45300501957535744, "temperature_flat_ratio": 15.470207546938505, "head_frobenius_norm": 1.8372425571802198, "feature_norm": 1.9412408782194461}',0.125,2.37328481674194335937e+00,24,6.63136669991217786446e-02,2.00203969998256070539e-02);
INSERT INTO "flatselect_measurements" VALUES('90a63ad3b67143a690360823e15ca2d9',4,1,1,0.09375,2.34949668248494480948e+00,96,5122,5.81471601175103280922e+00,5.60462063365114193658e+00,'stages.1.0.second.conv','hessian',32,'{"n_classes": 10.0, "mean_confidence": 0.15741397831070736, "confidence_q10": 0.1435009068491524, "gini": 0.8930916175774042, "logit_variance": 0.06767398424959609, "margin_q10": 0.14786600619554519, "margin_q50": 0.24456211924552917, "temperature_flat_ratio": 96.20790323646017, "head_frobenius_norm": 1.903799034235757, "feature_norm": 2.363562879453898}',0.125,2.34272225697835301261e+00,24,5.62409190006292192265e-02,2.5069781999263796024e-02);
INSERT INTO "flatselect_measurements" VALUES('90a63ad3b67143a690360823e15ca2d9',4,2,1,1.04166666666666671292e-01,2.33576806386311863761e+00,96,5122,4.23966921818348208006e+00,4.09233864929739876714e+00,'stages.1.0.second.conv','hessian',32,'{"n_classes": 10.0, "mean_confidence": 0.14443291848112147, "confidence_q10": 0.13263874621485255, "gini": 0.8954029728153863, "logit_variance": 0.047207741252350624, "margin_q10": 0.10698335319757461, "margin_q50": 0.2005469650030136, "temperature_flat_ratio": 100.29983550728548, "head_frobenius_norm": 1.903798907098884, "feature_norm": 2.052258169018695}',0.125,2.33362976710001612801e+00,24,6.40431929987244075164e-02,2.20617260001745307818e-02);
INSERT INTO "flatselect_measurements" VALUES('90a63ad3b67143a690360823e15ca2d9',4,3,1,1.04166666666666671292e-01,2.32833560307820652823e+00,96,5122,3.51082894052023597453e+00,3.3900034108283514378e+00,'stages.1.0.second.conv','hessian',32,'{"n_classes": 10.0, "mean_confidence": 0.13582198274193738, "confidence_q10": 0.12469146958835267, "gini": 0.8964485285968246, "logit_variance": 0.03793518779941596, "margin_q10": 0.05882966816425324, "margin_q50": 0.14904607087373734, "temperature_flat_ratio": 103.23859192855768, "head_frobenius_norm": 1.9037988769580718, "feature_norm": 1.8761678102183406}',8.33333333333333287074e-02,2.33003505071004246573e+00,24,6.65316770009667379781e-02,2.0811352000237093307e-02);
INSERT INTO "flatselect_measurements" VALUES('90a63ad3b67143a690360823e15ca2d9',5,1,1,1.04166666666666671292e-01,2.34795935948689793448e+00,96,1382,1.2794510476178357905e+00,1.13481807991441119298e+00,'stages.1.0.second.conv','hessian',32,'{"n_classes": 10.0, "mean_confidence": 0.14499683122479254, "confidence_q10": 0.13700483059939658, "gini": 0.8927011604976001, "logit_variance": 0.07693514218828357, "margin_q10": 0.018527066707611086, "margin_q50": 0.06644634902477264, "temperature_flat_ratio": 18.629140327375545, "head_frobenius_norm": 1.783319059033627, "feature_norm": 1.726714545255387}',8.33333333333333287074e-02,2.34336058298746729988e+00,24,5.72411270004522521048e-02,2.09985629990114830434e-02);
INSERT INTO "flatselect_measurements" VALUES('90a63ad3b67143a690360823e15ca2d9',5,2,1,1.14583333333333328707e-01,2.32962640126546238761e+00,96,1382,9.28160919425085495504e-01,8.32195502464599501379e-01,'stages.1.0.second.conv','hessian',32,'{"n_classes": 10.0, "mean_confidence": 0.13427456151463898, "confidence_q10": 0.1262119197534565, "gini": 0.8954120390563476, "logit_variance": 0.04779939982096767, "margin_q10": 0.005923455953598023, "margin_q50": 0.05137401074171066, "temperature_flat_ratio": 21.685922704718983, "head_frobenius_norm": 1.77400254771429, "feature_norm": 1.4154716210396698}',1.66666666666666657414e-01,2.32581726710001612801e+00,24,5.62120079994201660156e-02,1.8783716999678290449e-02);
INSERT INTO "flatselect_measurements" VALUES('90a63ad3b67143a690360823e15ca2d9',5,3,1,0.125,2.32284847895304347176e+00,96,1382,0.809803622460522,7.33671854257039512958e-01,'stages.1.0.second.conv','hessian',32,'{"n_classes": 10.0, "mean_confidence": 0.12975846878971606, "confidence_q10": 0.12110336436092951, "gini": 0.8964233857591277, "logit_variance": 0.037007749501686914, "margin_q10": 0.0025037929415702826, "margin_q50": 0.03557782620191574, "temperature_flat_ratio": 24.410341855190023, "head_frobenius_norm": 1.7718515636296492, "feature_norm": 1.228694491006537}',1.66666666666666657414e-01,2.31783246994018554687e+00,24,0.0585582740004611,1.92423989992676069959e-02);
INSERT INTO "flatselect_measurements" VALUES('90a63ad3b67143a690360823e15ca2d9',6,1,1,0.1,2.31401468912760410745e+00,120,2034,1.85501198560855873331e+00,8.69877576835239918473e-01,'stages.1.0.conv','hessian',32,'{"n_classes": 10.0, "mean_confidence": 0.15086441223264596, "confidence_q10": 0.14094173292301634, "gini": 0.8951366010310662, "logit_variance": 0.04204172652084096, "margin_q10": 0.17009432166814803, "margin_q50": 0.2174747735261917, "temperature_flat_ratio": 49.29204791188978, "head_frobenius_norm": 1.8085605501819666, "feature_norm": 1.6300525595574888}',NULL,NULL,0,3.83059380001213867217e-02,1.54449540004861773923e-02);
INSERT INTO "flatselect_measurements" VALUES('90a63ad3b67143a690360823e15ca2d9',6,2,1,0.1,2.3117947896321613399e+00,120,2034,1.76433316123329841929e+00,8.30057070141378416927e-01,'stages.1.0.conv','hessian',32,'{"n_classes": 10.0, "mean_confidence": 0.1502731614594371, "confidence_q10": 0.13934354729019555, "gini": 0.8954720686706894, "logit_variance": 0.038768203145500835, "margin_q10": 0.19434929341077806, "margin_q50": 0.23589422553777695, "temperature_flat_ratio": 50.822132065435596, "head_frobenius_norm": 1.8085604919345437, "feature_norm": 1.5087693308254684}',NULL,NULL,0,4.21197050000046147033e-02,1.54544500001065898686e-02);
INSERT INTO "flatselect_measurements" VALUES('90a63ad3b67143a690360823e15ca2d9',7,1,1,1.8333333333333332038e-01,2.30580571492513,120,1204,1.38470924892643165726e+00,6.91197325879880808408e-01,'stages.1.0.conv','hessian',32,'{"n_classes": 10.0, "mean_confidence": 0.11522693827998491, "confidence_q10": 0.1117796670684385, "gini": 0.8988616050655179, "logit_variance": 0.011691977153526167, "margin_q10": 0.005445743724703789, "margin_q50": 0.02621608041226864, "temperature_flat_ratio": 131.75824608559674, "head_frobenius_norm": 1.8417974818280491, "feature_norm": 1.206718911058387}',NULL,NULL,0,3.71213309990707784891e-02,1.44952380014728987589e-02);
INSERT INTO "flatselect_measurements" VALUES('90a63ad3b67143a690360823e15ca2d9',7,2,1,0.175,2.30390803019205714363e+00,120,1204,1.2168431233692886817e+00,0.618117337600026,'stages.1.0.conv','hessian',32,'{"n_classes": 10.0, "mean_confidence": 0.1143377460410839, "confidence_q10": 0.11175846008871738, "gini": 0.8990532676391388, "logit_variance": 0.00964241755080273, "margin_q10": 0.004576226323843002, "margin_q50": 0.02993139997124672, "temperature_flat_ratio": 140.36642348208545, "head_frobenius_norm": 1.8409010361162057, "feature_norm": 1.1011065956460284}',NULL,NULL,0,0.035226550000516,0.0124881550000282);
INSERT INTO "flatselect_measurements" VALUES('90a63ad3b67143a690360823e15ca2d9',7,3,1,1.58333333333333325931e-01,2.30251642862955741009e+00,120,1204,1.20190300014092388281e+00,6.17890056847866464551e-01,'stages.1.0.conv','hessian',32,'{"n_classes": 10.0, "mean_confidence": 0.11437238511449395, "confidence_q10": 0.11151003445277406, "gini": 0.8991027214429412, "logit_variance": 0.009083637439465341, "margin_q10": 0.005214425176382065, "margin_q50": 0.026960670948028564, "temperature_flat_ratio": 147.16357022922986, "head_frobenius_norm": 1.8406382494358973, "feature_norm": 1.0579200106091025}',NULL,NULL,0,4.56096799989609280601e-02,1.57911080004851100966e-02);
INSERT INTO "flatselect_measurements" VALUES('90a63ad3b67143a690360823e15ca2d9',8,1,1,6.66666666666666657414e-02,2.31091130574544267872e+00,120,2034,0.935967276900405,5.03941284238947351248e-01,'stages.1.0.conv','hessian',32,'{"n_classes": 10.0, "mean_confidence": 0.113448129768805, "confidence_q10": 0.11015836133714185, "gini": 0.8989348395201637, "logit_variance": 0.011821179945384865, "margin_q10": 0.0019789978861808775, "margin_q50": 0.020480290055274963, "temperature_flat_ratio": 88.07884773707323, "head_frobenius_norm": 1.8382057420375086, "feature_norm": 0.8103532720729762}',NULL,NULL,0,3.46387650006363401189e-02,1.4774686000237124972e-02);
INSERT INTO "flatselect_measurements" VALUES('90a63ad3b67143a690360823e15ca2d9',8,2,1,6.66666666666666657414e-02,2.309803009033203125e+00,120,2034,1.06987906575786984042e+00,5.71092145514317639509e-01,'stages.1.0.conv','hessian',32,'{"n_classes": 10.0, "mean_confidence": 0.11446449325038272, "confidence_q10": 0.11026647325463618, "gini": 0.8988697882653447, "logit_variance": 0.012572610242887541, "margin_q10": 0.003754141926765442, "margin_q50": 0.01968281716108322, "temperature_flat_ratio": 94.6700166915293, "head_frobenius_norm": 1.8357681459085975, "feature_norm": 0.8656586185991493}',NULL,NULL,0,3.5697848001291276887e-02,1.40385389986477093771e-02);
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
INSERT INTO "flatselect_predictions" VALUES('90a63ad3b67143a690360823e15ca2d9',0,3,'cafd4c9b756b5ea7cb5c19b3cf682fa5',1.18200984354108230844e-02,-7.12075046899936503486e-02,6.15572439746723681919e-02,7.15132348979225090923e-02,2.17760893586609605154e-02,1.54540838023326965178e-01,1);
INSERT INTO "flatselect_predictions" VALUES('90a63ad3b67143a690360823e15ca2d9',3,3,'cafd4c9b756b5ea7cb5c19b3cf682fa5',-0.0705928024287329,-1.94911183527188447417e-01,2.00663194195911553929e-01,1.64342802428732892572e-01,0.0,2.88661183527188447417e-01,1);
INSERT INTO "flatselect_predictions" VALUES('90a63ad3b67143a690360823e15ca2d9',4,3,'cafd4c9b756b5ea7cb5c19b3cf682fa5',-3.10011981101331324239e-02,-6.40671210924136647069e-02,2.84725845324161758176e-02,1.35167864776799817594e-01,0.0756940821342505,1.68233787759080322121e-01,1);
INSERT INTO "flatselect_predictions" VALUES('90a63ad3b67143a690360823e15ca2d9',5,3,'cafd4c9b756b5ea7cb5c19b3cf682fa5',5.57782932629147243375e-02,-2.36501072345205731739e-01,2.19923806466125637548e-01,6.92217067370852756624e-02,0.0,3.61501072345205731739e-01,1);
INSERT INTO "flatselect_predictions" VALUES('90a63ad3b67143a690360823e15ca2d9',6,1,'cafd4c9b756b5ea7cb5c19b3cf682fa5',-2.42853818894658360361e-02,-0.0644017743100439,2.6935357418936559104e-02,1.24285381889465834648e-01,7.3064642581063446447e-02,1.64401774310043907734e-01,1);
INSERT INTO "flatselect_predictions" VALUES('90a63ad3b67143a690360823e15ca2d9',6,2,'cafd4c9b756b5ea7cb5c19b3cf682fa5',-2.75942807864713625376e-02,-0.0725560484328827,2.52802448736580559485e-02,1.27594280786471364619e-01,7.47197551263419496025e-02,1.72556048432882691567e-01,1);
INSERT INTO "flatselect_predictions" VALUES('90a63ad3b67143a690360823e15ca2d9',7,1,'cafd4c9b756b5ea7cb5c19b3cf682fa5',-5.84340183603217488972e-01,-1.0,1.0,7.67673516936550837108e-01,0.0,1.0,1);
INSERT INTO "flatselect_predictions" VALUES('90a63ad3b67143a690360823e15ca2d9',7,2,'cafd4c9b756b5ea7cb5c19b3cf682fa5',-4.09925507380569043025e-01,-1.0,9.60593790627586763264e-01,0.584925507380569,0.0,1.0,1);
INSERT INTO "flatselect_predictions" VALUES('90a63ad3b67143a690360823e15ca2d9',7,3,'cafd4c9b756b5ea7cb5c19b3cf682fa5',-1.93643184324392952921e-01,-4.64644785524477799132e-01,4.37379163670295778576e-01,3.51976517657726306609e-01,0.0,6.22978118857811180575e-01,1);
INSERT INTO "flatselect_predictions" VALUES('90a63ad3b67143a690360823e15ca2d9',8,1,'cafd4c9b756b5ea7cb5c19b3cf682fa5',1.39630297243609705765e-02,-7.04905061377268521427e-02,1.10142608348042042587e-01,0.0527036369423057,0.0,1.37157172804393517884e-01,1);
INSERT INTO "flatselect_predictions" VALUES('90a63ad3b67143a690360823e15ca2d9',8,2,'cafd4c9b756b5ea7cb5c19b3cf682fa5',1.381896503621851853e-02,-6.69971658991900531621e-02,1.05978469554611764991e-01,5.28477016304481489461e-02,0.0,1.33663832565856732781e-01,1);
CREATE TABLE flatselect_ranked_checkpoints (
	ranking_uid TEXT NOT NULL, 
	position INTEGER NOT NULL, 
	path TEXT NOT NULL, 
	rank INTEGER, 
	sha256 TEXT, 
	model TEXT, 
	n_train_images INTEGER, 
	n_parameters BIGINT, 
	train_score DOUBLE, 
	train_loss DOUBLE, 
	relative_gap_flatness DOUBLE, 
	hessian_trace DOUBLE, 
	layer TEXT, 
	exactness TEXT, 
	gap DOUBLE, 
	gap_low DOUBLE, 
	gap_high DOUBLE, 
	score DOUBLE, 
	score_low DOUBLE, 
	score_high DOUBLE, 
	extrapolation BOOLEAN, 
	probability_best DOUBLE, 
	error TEXT, 
	CONSTRAINT pk_flatselect_ranked_checkpoints PRIMARY KEY (ranking_uid, position), 
	CONSTRAINT fk_flatselect_ranked_checkpoints_ranking_uid FOREIGN KEY(ranking_uid) REFERENCES flatselect_checkpoint_rankings (uid) ON DELETE CASCADE
);
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
INSERT INTO "flatselect_runs" VALUES('0778c3a7f2bf4b5491a3890118391cc3','90a63ad3b67143a690360823e15ca2d9','2026-11-22 14:58:34.247599','2026-11-22 14:58:37.698218','2026-11-22 14:58:37.698218','complete','machine',9104,'inline','{"python": "3.11.7", "flatselect": "0.1.0", "torch": "2.15.0", "torchvision": "0.29.2", "optuna": "5.0.0", "ray": "2.60.0", "scikit-learn": "1.9.1", "sqlalchemy": "2.1.9", "numpy": "2.4.6"}','{"study": {"name": "released", "storage_timeout": 600.0, "checkpoints": "/studies/released-checkpoints", "log_json": false, "trials": 10, "sampler": "random", "population": 16, "seed": 1, "objective": "predicted_test_score", "direction": "maximize", "minimize": [], "retrain_top": 0, "max_failures_in_row": 5}, "data": {"train": "digits", "audit": "digits", "size": 120, "audit_size": 50, "unlabeled_size": 1000, "download": false, "augmentation": "none", "loader_workers": 0}, "search_space": {"width": {"type": "int", "low": 4, "high": 8, "log": false, "step": 1, "when": {}}, "block": {"type": "categorical", "choices": ["plain", "residual"], "when": {}}, "learning_rate": {"type": "categorical", "choices": [0.05, 1e-06, 1e+30], "when": {}}, "momentum": {"type": "float", "low": 0.5, "high": 0.9, "log": false, "when": {}}}, "model": {"name": "cnn", "args": {}}, "training": {"epochs": 3, "batch_size": 64, "optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.9, "nesterov": false, "weight_decay": 0.0, "schedule": "cosine", "warmup_epochs": 0.0, "step_epochs": 10, "step_factor": 0.1, "label_smoothing": 0.0, "mixed_precision": true, "compile": false, "flatness_penalty": 0.0, "flatness_penalty_images": 32}, "measure": {"every": 1, "probe": 32, "batch_size": 256, "extras": [], "latency_batch_size": 1}, "calibration": {"trials": 4, "holdout": 0.2, "coverage": 0.9, "estimator": "ridge", "artifact_trials": 0}, "pruner": {"name": "flatness", "startup_trials": 1, "warmup_epochs": 1, "patience": 1, "margin": 0.0, "reference": "best", "confidence": 0.7}, "ray": {"backend": "inline", "autoscaling": false, "worker_timeout": 600.0, "cpus_per_trial": 1.0, "max_failures": 3, "dashboard": false, "metrics": false}}','boot pid');
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
INSERT INTO "flatselect_standings" VALUES('90a63ad3b67143a690360823e15ca2d9',0,3,2.65417247999721439555e-01,3,96,2956,NULL,8.33333333333333287074e-02,2.33012215296427394051e+00,8.33333333333333287074e-02,4.37949801881231870481e+00,4.63932530689471267493e+00,'stages.1.0.second.conv','hessian','cafd4c9b756b5ea7cb5c19b3cf682fa5',1.18200984354108230844e-02,-7.12075046899936503486e-02,6.15572439746723681919e-02,7.15132348979225090923e-02,2.17760893586609605154e-02,1.54540838023326965178e-01,1);
INSERT INTO "flatselect_standings" VALUES('90a63ad3b67143a690360823e15ca2d9',3,3,2.42402995998418191447e-01,3,96,2956,NULL,0.09375,2.33934879302978515625e+00,0.125,1.74731186896682522124e+00,1.64937232660514254689e+00,'stages.1.0.second.conv','hessian','cafd4c9b756b5ea7cb5c19b3cf682fa5',-0.0705928024287329,-1.94911183527188447417e-01,2.00663194195911553929e-01,1.64342802428732892572e-01,0.0,2.88661183527188447417e-01,1);
INSERT INTO "flatselect_standings" VALUES('90a63ad3b67143a690360823e15ca2d9',4,3,2.54758648999995784834e-01,3,96,5122,NULL,1.04166666666666671292e-01,2.32833560307820652823e+00,8.33333333333333287074e-02,3.51082894052023597453e+00,3.3900034108283514378e+00,'stages.1.0.second.conv','hessian','cafd4c9b756b5ea7cb5c19b3cf682fa5',-3.10011981101331324239e-02,-6.40671210924136647069e-02,2.84725845324161758176e-02,1.35167864776799817594e-01,0.0756940821342505,1.68233787759080322121e-01,1);
INSERT INTO "flatselect_standings" VALUES('90a63ad3b67143a690360823e15ca2d9',5,3,2.31036087998290895484e-01,3,96,1382,NULL,0.125,2.32284847895304347176e+00,1.66666666666666657414e-01,0.809803622460522,7.33671854257039512958e-01,'stages.1.0.second.conv','hessian','cafd4c9b756b5ea7cb5c19b3cf682fa5',5.57782932629147243375e-02,-2.36501072345205731739e-01,2.19923806466125637548e-01,6.92217067370852756624e-02,0.0,3.61501072345205731739e-01,1);
INSERT INTO "flatselect_standings" VALUES('90a63ad3b67143a690360823e15ca2d9',6,2,1.11325047000718768686e-01,2,120,2034,NULL,0.1,2.3117947896321613399e+00,NULL,1.76433316123329841929e+00,8.30057070141378416927e-01,'stages.1.0.conv','hessian','cafd4c9b756b5ea7cb5c19b3cf682fa5',-2.75942807864713625376e-02,-0.0725560484328827,2.52802448736580559485e-02,1.27594280786471364619e-01,7.47197551263419496025e-02,1.72556048432882691567e-01,1);
INSERT INTO "flatselect_standings" VALUES('90a63ad3b67143a690360823e15ca2d9',7,3,1.60732062000533915124e-01,3,120,1204,NULL,1.58333333333333325931e-01,2.30251642862955741009e+00,NULL,1.20190300014092388281e+00,6.17890056847866464551e-01,'stages.1.0.conv','hessian','cafd4c9b756b5ea7cb5c19b3cf682fa5',-1.93643184324392952921e-01,-4.64644785524477799132e-01,4.37379163670295778576e-01,3.51976517657726306609e-01,0.0,6.22978118857811180575e-01,1);
INSERT INTO "flatselect_standings" VALUES('90a63ad3b67143a690360823e15ca2d9',8,2,9.91498380008124513551e-02,2,120,2034,NULL,6.66666666666666657414e-02,2.309803009033203125e+00,NULL,1.06987906575786984042e+00,5.71092145514317639509e-01,'stages.1.0.conv','hessian','cafd4c9b756b5ea7cb5c19b3cf682fa5',1.381896503621851853e-02,-6.69971658991900531621e-02,1.05978469554611764991e-01,5.28477016304481489461e-02,0.0,1.33663832565856732781e-01,1);
CREATE TABLE flatselect_studies (
	uid TEXT NOT NULL, 
	name TEXT NOT NULL, 
	created_at DATETIME NOT NULL, 
	config JSON NOT NULL, 
	data JSON NOT NULL, 
	CONSTRAINT pk_flatselect_studies PRIMARY KEY (uid)
);
INSERT INTO "flatselect_studies" VALUES('90a63ad3b67143a690360823e15ca2d9','released','2026-11-22 14:58:34.211142','{"study": {"name": "released", "storage_timeout": 600.0, "checkpoints": "/studies/released-checkpoints", "log_json": false, "trials": 10, "sampler": "random", "population": 16, "seed": 1, "objective": "predicted_test_score", "direction": "maximize", "minimize": [], "retrain_top": 0, "max_failures_in_row": 5}, "data": {"train": "digits", "audit": "digits", "size": 120, "audit_size": 50, "unlabeled_size": 1000, "download": false, "augmentation": "none", "loader_workers": 0}, "search_space": {"width": {"type": "int", "low": 4, "high": 8, "log": false, "step": 1, "when": {}}, "block": {"type": "categorical", "choices": ["plain", "residual"], "when": {}}, "learning_rate": {"type": "categorical", "choices": [0.05, 1e-06, 1e+30], "when": {}}, "momentum": {"type": "float", "low": 0.5, "high": 0.9, "log": false, "when": {}}}, "model": {"name": "cnn", "args": {}}, "training": {"epochs": 3, "batch_size": 64, "optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.9, "nesterov": false, "weight_decay": 0.0, "schedule": "cosine", "warmup_epochs": 0.0, "step_epochs": 10, "step_factor": 0.1, "label_smoothing": 0.0, "mixed_precision": true, "compile": false, "flatness_penalty": 0.0, "flatness_penalty_images": 32}, "measure": {"every": 1, "probe": 32, "batch_size": 256, "extras": [], "latency_batch_size": 1}, "calibration": {"trials": 4, "holdout": 0.2, "coverage": 0.9, "estimator": "ridge", "artifact_trials": 0}, "pruner": {"name": "flatness", "startup_trials": 1, "warmup_epochs": 1, "patience": 1, "margin": 0.0, "reference": "best", "confidence": 0.7}, "ray": {"backend": "inline", "autoscaling": false, "worker_timeout": 600.0, "cpus_per_trial": 1.0, "max_failures": 3, "dashboard": false, "metrics": false}}','{"fingerprint": "986f14fbe4dce9d90add283bcecdaeb95cbc34704d1eaff160334b98407ec54f", "n_images": 120, "name": "digits", "class_names": ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"], "input_shape": [1, 8, 8], "mean": [0.29956290849673206], "std": [0.37210650692828706]}');
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
INSERT INTO "study_user_attributes" VALUES(1,1,'flatselect:uid','"90a63ad3b67143a690360823e15ca2d9"');
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
INSERT INTO "trial_intermediate_values" VALUES(13,7,1,1.24285381889465834648e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(14,7,2,1.27594280786471364619e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(15,8,1,7.67673516936550837108e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(16,8,2,0.584925507380569,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(17,8,3,3.51976517657726306609e-01,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(18,9,1,0.0527036369423057,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(19,9,2,5.28477016304481489461e-02,'FINITE');
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
INSERT INTO "trial_user_attributes" VALUES(1,1,'flatselect:asked_by','"0778c3a7f2bf4b5491a3890118391cc3/88afd5dda22043b89d3e4f653a5086dd"');
INSERT INTO "trial_user_attributes" VALUES(2,1,'flatselect:is_calibration','true');
INSERT INTO "trial_user_attributes" VALUES(3,1,'flatselect:relative_gap_flatness','4.379498018812319');
INSERT INTO "trial_user_attributes" VALUES(4,2,'flatselect:asked_by','"0778c3a7f2bf4b5491a3890118391cc3/e2a3b6878f4c426694f8daf31e05d4a3"');
INSERT INTO "trial_user_attributes" VALUES(5,2,'flatselect:is_calibration','true');
INSERT INTO "trial_user_attributes" VALUES(6,2,'flatselect:failure','"NonFiniteError: the training loss is nan in epoch 1 (learning_rate = 1e+30); a lower rate or gradient_clip may help"');
INSERT INTO "trial_user_attributes" VALUES(7,3,'flatselect:asked_by','"0778c3a7f2bf4b5491a3890118391cc3/9d9155bc002a41a29a3832298be92841"');
INSERT INTO "trial_user_attributes" VALUES(8,3,'flatselect:is_calibration','true');
INSERT INTO "trial_user_attributes" VALUES(9,3,'flatselect:failure','"NonFiniteError: the training loss is nan in epoch 1 (learning_rate = 1e+30); a lower rate or gradient_clip may help"');
INSERT INTO "trial_user_attributes" VALUES(10,4,'flatselect:asked_by','"0778c3a7f2bf4b5491a3890118391cc3/5b0c2dbd80854af1997cc9c0ec3cc5ff"');
INSERT INTO "trial_user_attributes" VALUES(11,4,'flatselect:is_calibration','true');
INSERT INTO "trial_user_attributes" VALUES(12,4,'flatselect:relative_gap_flatness','1.7473118689668252');
INSERT INTO "trial_user_attributes" VALUES(13,5,'flatselect:asked_by','"0778c3a7f2bf4b5491a3890118391cc3/26f7dc0c19734acb9ac35af4c5796a80"');
INSERT INTO "trial_user_attributes" VALUES(14,5,'flatselect:is_calibration','true');
INSERT INTO "trial_user_attributes" VALUES(15,5,'flatselect:relative_gap_flatness','3.510828940520236');
INSERT INTO "trial_user_attributes" VALUES(16,6,'flatselect:asked_by','"0778c3a7f2bf4b5491a3890118391cc3/c98129e691504b12bf30a6498db38e8c"');
INSERT INTO "trial_user_attributes" VALUES(17,6,'flatselect:is_calibration','true');
INSERT INTO "trial_user_attributes" VALUES(18,6,'flatselect:relative_gap_flatness','0.809803622460522');
INSERT INTO "trial_user_attributes" VALUES(19,7,'flatselect:asked_by','"0778c3a7f2bf4b5491a3890118391cc3/bf349cc3a8b143a5b20847b08c57f76d"');
INSERT INTO "trial_user_attributes" VALUES(20,7,'flatselect:is_calibration','false');
INSERT INTO "trial_user_attributes" VALUES(21,7,'flatselect:relative_gap_flatness','1.7643331612332984');
INSERT INTO "trial_user_attributes" VALUES(22,7,'flatselect:predicted_test_score_interval','[0.07471975512634195, 0.1725560484328827]');
INSERT INTO "trial_user_attributes" VALUES(23,7,'flatselect:pruned_because','"epoch 2: upper bound 0.1599 of its predicted final value < 0.1667, the best of the 4 finished trials (trial 5)"');
INSERT INTO "trial_user_attributes" VALUES(24,8,'flatselect:asked_by','"0778c3a7f2bf4b5491a3890118391cc3/c7afca14ba464abcb34cb437b65740f4"');
INSERT INTO "trial_user_attributes" VALUES(25,8,'flatselect:is_calibration','false');
INSERT INTO "trial_user_attributes" VALUES(26,8,'flatselect:relative_gap_flatness','1.2019030001409239');
INSERT INTO "trial_user_attributes" VALUES(27,8,'flatselect:predicted_test_score_interval','[0.0, 0.6229781188578112]');
INSERT INTO "trial_user_attributes" VALUES(28,9,'flatselect:asked_by','"0778c3a7f2bf4b5491a3890118391cc3/cc439f7547ed48dea2d6b3b544e2f538"');
INSERT INTO "trial_user_attributes" VALUES(29,9,'flatselect:is_calibration','false');
INSERT INTO "trial_user_attributes" VALUES(30,9,'flatselect:relative_gap_flatness','1.0698790657578698');
INSERT INTO "trial_user_attributes" VALUES(31,9,'flatselect:predicted_test_score_interval','[0.0, 0.13366383256585673]');
INSERT INTO "trial_user_attributes" VALUES(32,9,'flatselect:pruned_because','"epoch 2: upper bound 0.2208 of its predicted final value < 0.352, the best of the 5 finished trials (trial 7)"');
INSERT INTO "trial_user_attributes" VALUES(33,10,'flatselect:asked_by','"0778c3a7f2bf4b5491a3890118391cc3/f64695d200794d0c9f994f2cd22b5119"');
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
INSERT INTO "trial_values" VALUES(5,7,0,1.27594280786471364619e-01,'FINITE');
INSERT INTO "trial_values" VALUES(6,8,0,3.51976517657726306609e-01,'FINITE');
INSERT INTO "trial_values" VALUES(7,9,0,5.28477016304481489461e-02,'FINITE');
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
INSERT INTO "trials" VALUES(1,0,1,'COMPLETE','2026-11-22 14:58:34.261812','2026-11-22 14:58:36.009482');
INSERT INTO "trials" VALUES(2,1,1,'FAIL','2026-11-22 14:58:36.012981','2026-11-22 14:58:36.099070');
INSERT INTO "trials" VALUES(3,2,1,'FAIL','2026-11-22 14:58:36.100636','2026-11-22 14:58:36.187272');
INSERT INTO "trials" VALUES(4,3,1,'COMPLETE','2026-11-22 14:58:36.189379','2026-11-22 14:58:36.475836');
INSERT INTO "trials" VALUES(5,4,1,'COMPLETE','2026-11-22 14:58:36.477567','2026-11-22 14:58:36.773700');
INSERT INTO "trials" VALUES(6,5,1,'COMPLETE','2026-11-22 14:58:36.775272','2026-11-22 14:58:37.047650');
INSERT INTO "trials" VALUES(7,6,1,'PRUNED','2026-11-22 14:58:37.098467','2026-11-22 14:58:37.240057');
INSERT INTO "trials" VALUES(8,7,1,'COMPLETE','2026-11-22 14:58:37.241892','2026-11-22 14:58:37.434883');
INSERT INTO "trials" VALUES(9,8,1,'PRUNED','2026-11-22 14:58:37.436075','2026-11-22 14:58:37.562175');
INSERT INTO "trials" VALUES(10,9,1,'FAIL','2026-11-22 14:58:37.563283','2026-11-22 14:58:37.610350');
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
CREATE INDEX ix_flatselect_ranked_checkpoints_sha256 ON flatselect_ranked_checkpoints (sha256);
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
