INSERT INTO default_expressions (id) SELECT MAX(id) + 1 FROM default_expressions;
