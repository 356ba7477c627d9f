CREATE TABLE orders (
    id    INTEGER PRIMARY KEY,
    item  TEXT    NOT NULL,
    price INTEGER NOT NULL -- in euros
);
INSERT INTO orders (item, price) VALUES ('chair', 49), ('table', 120), ('lamp', 31);
