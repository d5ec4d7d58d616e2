SET SESSION binlog_row_image = MINIMAL; UPDATE wi_t SET a = a + 1; DELETE FROM wi_t WHERE id > 5; INSERT INTO wi_t (a) VALUES (5);
