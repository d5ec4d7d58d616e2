UPDATE Names_Case SET V = V + 1; INSERT INTO names_case SELECT MAX(id) + 1 FROM names_case;
