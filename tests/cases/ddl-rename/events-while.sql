DROP TABLE IF EXISTS dr_new; CREATE TABLE dr_new LIKE dr_t; INSERT INTO dr_new SELECT * FROM dr_t; RENAME TABLE dr_t TO dr_old, dr_new TO dr_t; DROP TABLE dr_old; INSERT INTO dr_t (v) VALUES (3);
