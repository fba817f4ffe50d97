CREATE TABLE decisions ( id TEXT PRIMARY KEY, time_s REAL NOT NULL, model TEXT NOT NULL, quality REAL, cost_usd REAL, session TEXT, key_id TEXT, prompt TEXT, prompt_hmac TEXT, route TEXT NOT NULL )
CREATE INDEX decisions_by_time ON decisions (time_s)
CREATE TABLE feedback (decision_id TEXT PRIMARY KEY, time_s REAL NOT NULL, score REAL NOT NULL, comment TEXT)
CREATE TABLE outcomes ( decision_id TEXT NOT NULL, attempt INTEGER NOT NULL, upstream TEXT NOT NULL, status INTEGER, error TEXT, input_tokens INTEGER, output_tokens INTEGER, cost_usd REAL, latency_s REAL, possibly_billed INTEGER NOT NULL, PRIMARY KEY (decision_id, attempt) )
