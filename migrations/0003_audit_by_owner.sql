-- Whose key, PAT or session an entry is about. Details may be spoilt: such a row is nobody's, and no error.
CREATE INDEX audit_by_owner ON audit (target_realm,(CASE WHEN json_valid(details) THEN json_extract(details, '$.user') END),seq)
  WHERE target_kind IN ('api_key', 'pat', 'session');
