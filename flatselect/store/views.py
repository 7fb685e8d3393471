"""The SQL views that any client may ask: `docs/database.md` says what stands in them.

Views are made from this file whenever the tables have been brought to their version; when a definition changes, a new
revision makes older databases take it over. Optuna's tables are reached by way of `flatselect_optuna_trials` and
`flatselect_params`. In PostgreSQL these stand on functions, whose bodies PostgreSQL does not follow: no migration of
Optuna's meets a view that depends on its tables, and Optuna's tables need not be there yet.
"""

from sqlalchemy import Connection, inspect

from flatselect.store.view_columns import PREDICTED_NAMES

_VIEWS = (  # none reads one that stands before it
    "flatselect_ranking",
    "flatselect_curves",
    "flatselect_trials",
    "flatselect_params",
    "flatselect_optuna_trials",
)

# Optuna's copy_study copies the uid too: the study that was first has it.
_OPTUNA_TRIALS = """
SELECT s.name AS study, s.uid AS study_uid, t.trial_id AS trial_id, CAST(t.number AS INTEGER) AS number,
  {state} AS state, t.datetime_start AS started_at, t.datetime_complete AS ended_at,
  (SELECT CAST(x.value_json AS INTEGER) FROM trial_user_attributes x
    WHERE x.trial_id = t.trial_id AND x.key = 'flatselect:retrains') AS retrains,
  (SELECT CAST(x.value_json AS INTEGER) FROM trial_user_attributes x
    WHERE x.trial_id = t.trial_id AND x.key = 'flatselect:retries') AS retries,
  (SELECT {attribute_text} FROM trial_user_attributes x
    WHERE x.trial_id = t.trial_id AND x.key = 'flatselect:failure') AS failure
FROM flatselect_studies s CROSS JOIN (
  SELECT MIN(a.study_id) AS study_id, a.value_json AS uid_json FROM study_user_attributes a
  WHERE a.key = 'flatselect:uid' GROUP BY a.value_json) i
CROSS JOIN trials t WHERE i.uid_json = '"' || s.uid || '"' AND t.study_id = i.study_id"""

_SQLITE_PARAMS = """
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
  FROM trial_params p)"""

# psycopg reads % as a placeholder's.
_POSTGRESQL_PARAMS = """
SELECT q.trial_id, q.name::text,
  CASE q.kind WHEN 'C' THEN q.choice WHEN 'I' THEN to_json(q.raw::bigint) ELSE to_json(q.raw) END,
  CASE WHEN q.kind <> 'C' THEN q.raw WHEN json_typeof(q.choice) = 'number'
    THEN (q.choice #>> '{}')::double precision END,
  CASE WHEN q.kind = 'C' AND json_typeof(q.choice) IN ('string', 'boolean') THEN q.choice #>> '{}' END
FROM (
  SELECT p.trial_id, p.param_name AS name, p.param_value::double precision AS raw,
    CASE WHEN p.distribution_json LIKE '{"name": "Cat%%'
      THEN p.distribution_json::json -> 'attributes' -> 'choices' -> p.param_value::integer END AS choice,
    CASE WHEN p.distribution_json LIKE '{"name": "Cat%%' THEN 'C'
      WHEN p.distribution_json LIKE '{"name": "Int%%' THEN 'I' ELSE 'F' END AS kind
  FROM trial_params p) q"""

# Without COALESCE a condition on such a column makes SQLite take the join for an inner one, which it then begins at the
# wrong end: 10,000 trials took minutes.
_PREDICTION = ", ".join(f"COALESCE(p.{column}, NULL) AS {name}" for column, name in PREDICTED_NAMES.items())

# A calibrator that was added a moment ago has said nothing yet: until it does, the one before it stands.
_LATEST_CALIBRATORS = """
  SELECT k.study_uid AS study_uid, k.uid AS uid FROM flatselect_calibrators k
  WHERE k.id = (SELECT MAX(x.id) FROM flatselect_calibrators x WHERE x.study_uid = k.study_uid
    AND EXISTS (SELECT 1 FROM flatselect_predictions y WHERE y.calibrator_uid = x.uid))"""

_LAST_ATTEMPTS = """
  SELECT k.* FROM flatselect_attempts k WHERE NOT EXISTS (SELECT 1 FROM flatselect_attempts x
    WHERE x.study_uid = k.study_uid AND x.trial_number = k.trial_number AND x.attempt > k.attempt)"""

# What an earlier calibrator said of a trial does not count.
_STANDING = ", ".join(
    f"CASE WHEN m.calibrator_uid = l.uid THEN m.{column} END AS {name}" for column, name in PREDICTED_NAMES.items()
)

_TRIALS = f"""
SELECT t.study AS study, t.number AS number, t.state AS state,
  COALESCE(a.is_calibration, {{false}}) AS is_calibration, t.retrains AS retrains, t.retries AS retries,
  COALESCE(a.model, '') AS model,
  COALESCE((SELECT {{object}} FROM flatselect_params x WHERE x.trial_id = t.trial_id), {{empty}}) AS params,
  COALESCE(a.attempt, 0) AS attempts,
  {{greatest}}(COALESCE(m.epochs, 0), COALESCE(c.epoch, 0)) AS epochs, COALESCE(m.seconds, 0.0) AS seconds,
  t.started_at AS started_at, t.ended_at AS ended_at, COALESCE(m.epoch, NULL) AS epoch,
  COALESCE(m.n_train_images, NULL) AS n_train_images, COALESCE(m.n_parameters, NULL) AS n_parameters,
  COALESCE(m.latency_ms, NULL) AS latency_ms, COALESCE(m.train_score, NULL) AS train_score,
  COALESCE(m.train_loss, NULL) AS train_loss, COALESCE(m.holdout_score, NULL) AS holdout_score,
  COALESCE(m.train_score - m.holdout_score, NULL) AS test_gap,
  COALESCE(m.relative_gap_flatness, NULL) AS relative_gap_flatness,
  COALESCE(m.flatness_standard_error, NULL) AS flatness_standard_error,
  COALESCE(m.hessian_trace, NULL) AS hessian_trace, COALESCE(m.layer, NULL) AS layer,
  COALESCE(m.exactness, NULL) AS exactness,
  {_STANDING},
  COALESCE(u.score, NULL) AS audit_test_score, COALESCE(a.pruned_because, NULL) AS pruned_because,
  CASE WHEN t.state = 'FAIL' THEN COALESCE(a.failure_kind || ': ' || a.failure_message, t.failure) END AS failure,
  COALESCE(c.path, NULL) AS checkpoint, COALESCE(c.deleted_at, NULL) AS checkpoint_deleted_at,
  t.study_uid AS study_uid, t.trial_id AS trial_id
FROM flatselect_optuna_trials t
LEFT JOIN ({_LAST_ATTEMPTS}) a ON a.study_uid = t.study_uid AND a.trial_number = t.number
LEFT JOIN flatselect_standings m ON m.study_uid = t.study_uid AND m.trial_number = t.number
LEFT JOIN ({_LATEST_CALIBRATORS}) l ON l.study_uid = t.study_uid
LEFT JOIN flatselect_checkpoints c ON c.study_uid = t.study_uid AND c.trial_number = t.number
LEFT JOIN flatselect_audits u ON u.study_uid = t.study_uid AND u.trial_number = t.number
WHERE t.state <> 'WAITING'"""

_CURVES = f"""
SELECT t.study AS study, t.number AS trial, m.epoch AS epoch, m.attempt AS attempt, m.train_score AS train_score,
  m.train_loss AS train_loss, m.n_train_images AS n_train_images, m.n_parameters AS n_parameters,
  m.relative_gap_flatness AS relative_gap_flatness, m.flatness_standard_error AS flatness_standard_error,
  m.hessian_trace AS hessian_trace, m.layer AS layer, m.exactness AS exactness,
  m.n_probe_images AS n_probe_images, m.companions AS companions,
  m.holdout_score AS holdout_score, m.holdout_loss AS holdout_loss, m.n_holdout_images AS n_holdout_images,
  m.train_score - m.holdout_score AS test_gap, {_PREDICTION},
  m.train_seconds AS train_seconds, m.measure_seconds AS measure_seconds,
  t.study_uid AS study_uid, t.trial_id AS trial_id
FROM flatselect_optuna_trials t CROSS JOIN flatselect_measurements m
LEFT JOIN ({_LATEST_CALIBRATORS}) l ON l.study_uid = t.study_uid
LEFT JOIN flatselect_predictions p ON p.study_uid = t.study_uid AND p.trial_number = t.number
  AND p.epoch = m.epoch AND p.calibrator_uid = l.uid
WHERE m.study_uid = t.study_uid AND m.trial_number = t.number"""

# The order of `flatselect.ranking.rank_trials`.
_RANKING = f"""
SELECT t.study AS study, ROW_NUMBER() OVER (PARTITION BY t.study, t.study_uid ORDER BY
    CASE WHEN t.extrapolation IS NULL THEN 1 ELSE 0 END,
    CASE WHEN t.extrapolation IS NULL THEN t.train_score ELSE t.predicted_test_score END DESC NULLS LAST,
    CASE WHEN t.predicted_test_score IN (0.0, 1.0) AND t.train_score IS NOT NULL
      THEN t.train_score - t.predicted_test_gap ELSE t.predicted_test_score END DESC NULLS LAST,
    CASE t.state WHEN 'COMPLETE' THEN 0 ELSE 1 END,
    t.predicted_test_gap_high - t.predicted_test_gap_low,
    t.number) AS rank,
  t.number AS number, t.state AS state, t.model AS model, t.train_score AS train_score,
  t.relative_gap_flatness AS relative_gap_flatness,
  {", ".join(f"t.{name} AS {name}" for name in PREDICTED_NAMES.values())},
  t.audit_test_score AS audit_test_score, t.study_uid AS study_uid, t.trial_id AS trial_id
FROM flatselect_trials t
LEFT JOIN (SELECT DISTINCT x.study_uid AS study_uid, x.retrains AS number FROM flatselect_optuna_trials x
  WHERE x.state = 'COMPLETE' AND x.retrains IS NOT NULL) r ON r.study_uid = t.study_uid AND r.number = t.number
WHERE r.number IS NULL AND t.state IN ('COMPLETE', 'PRUNED')
  AND (t.state = 'COMPLETE' OR t.extrapolation IS NOT NULL)"""

_SQLITE_WORDS = {
    "false": "0",
    "object": "json_group_object(x.name, json(x.value))",
    "empty": "'{}'",
    "greatest": "MAX",
}
_POSTGRESQL_WORDS = {
    "false": "false",
    "object": "json_object_agg(x.name, x.value ORDER BY x.name)",
    "empty": "'{}'::json",
    "greatest": "GREATEST",
}


def has_views(connection: Connection) -> bool:
    """Whether all views are there."""
    return set(_VIEWS) <= set(inspect(connection).get_view_names())


def drop_views(connection: Connection) -> None:
    """Drops the views: SQLite rebuilds no table that one of them reads."""
    for name in _VIEWS:
        connection.exec_driver_sql(f"DROP VIEW IF EXISTS {name}")
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("DROP FUNCTION IF EXISTS flatselect_read_optuna_trials(), flatselect_read_params()")


def create_views(connection: Connection) -> None:
    """Makes the views anew."""
    drop_views(connection)
    is_postgresql = connection.dialect.name == "postgresql"
    words = _POSTGRESQL_WORDS if is_postgresql else _SQLITE_WORDS
    if is_postgresql:
        _create_functions(connection)
        optuna_trials = "SELECT * FROM flatselect_read_optuna_trials()"
        params = "SELECT * FROM flatselect_read_params()"
    else:
        attribute_text = "json_extract(x.value_json, '$')"
        optuna_trials = _OPTUNA_TRIALS.format(state="t.state", attribute_text=attribute_text)
        params = _SQLITE_PARAMS
    definitions = (optuna_trials, params, _TRIALS.format(**words), _CURVES, _RANKING)
    for name, definition in zip(reversed(_VIEWS), definitions, strict=True):
        connection.exec_driver_sql(f"CREATE VIEW {name} AS {definition}")


def _create_functions(connection: Connection) -> None:
    body = _OPTUNA_TRIALS.format(state="CAST(t.state AS TEXT)", attribute_text="x.value_json::json #>> '{}'")
    body = (
        "SELECT q.study, q.study_uid, q.trial_id, q.number, q.state, q.started_at, q.ended_at, q.retrains, "
        f"q.retries, q.failure FROM ({body}) q"
    )
    connection.exec_driver_sql("SET LOCAL check_function_bodies = off")
    connection.exec_driver_sql(
        "CREATE FUNCTION flatselect_read_optuna_trials() RETURNS TABLE (study text, study_uid text, trial_id integer, "
        "number integer, state text, started_at timestamp, ended_at timestamp, retrains integer, retries integer, "
        f"failure text) LANGUAGE sql STABLE AS $body${body}$body$"
    )
    connection.exec_driver_sql(
        "CREATE FUNCTION flatselect_read_params() RETURNS TABLE (trial_id integer, name text, value json, "
        f"number double precision, text text) LANGUAGE sql STABLE AS $body${_POSTGRESQL_PARAMS}$body$"
    )
