-- Blobs that change while they are brought over.
CREATE TABLE wb_t (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, b longblob); INSERT INTO wb_t (b) VALUES (REPEAT(x'00ff', 300000)), (REPEAT('a', 300000)), (NULL);
