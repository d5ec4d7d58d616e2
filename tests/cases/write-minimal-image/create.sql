-- A session whose log has the changed columns only.
CREATE TABLE wi_t (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, a int, b text, c int); INSERT INTO wi_t (a, b, c) VALUES (1, 'a', 1), (2, 'b', 2);
