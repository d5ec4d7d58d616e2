SET SESSION binlog_format = STATEMENT; UPDATE wf_t SET v = v + 1 WHERE id <= 3; INSERT INTO wf_t (u, v) VALUES ('d', 4);
