UPDATE `größe_мир` SET `値` = CONCAT('x', LEFT(`値`, 5));
