-- Names as long as a server takes them.
CREATE TABLE table_name_that_is_as_long_as_a_server_takes_it_sixty_four_chars (column_name_that_is_as_long_as_a_server_takes_it_sixty_four_char int NOT NULL, PRIMARY KEY (column_name_that_is_as_long_as_a_server_takes_it_sixty_four_char));
INSERT INTO table_name_that_is_as_long_as_a_server_takes_it_sixty_four_chars VALUES (1), (2);
