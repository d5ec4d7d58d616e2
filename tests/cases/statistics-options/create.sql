-- Options that tell the server how to keep statistics.
CREATE TABLE statistics_options (id int NOT NULL PRIMARY KEY, a int) STATS_PERSISTENT=1 STATS_AUTO_RECALC=0 STATS_SAMPLE_PAGES=33 MAX_ROWS=1000000 AVG_ROW_LENGTH=50;
INSERT INTO statistics_options VALUES (1, 1);
