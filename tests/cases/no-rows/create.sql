-- Tables without a row, of several forms, and one that had rows.
CREATE TABLE no_rows (id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, a varchar(20) NOT NULL DEFAULT 'x', KEY (a));
CREATE TABLE no_rows_left (id int NOT NULL AUTO_INCREMENT PRIMARY KEY) AUTO_INCREMENT = 77;
INSERT INTO no_rows_left () VALUES (), (), (); DELETE FROM no_rows_left;
CREATE TABLE no_rows_no_key (a int, b text);
