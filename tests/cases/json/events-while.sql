INSERT INTO jsons (id, j) SELECT MAX(id) + 1, JSON_OBJECT('n', MAX(id)) FROM jsons;
