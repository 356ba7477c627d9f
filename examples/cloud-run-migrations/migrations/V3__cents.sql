-- Prices become cents. Done twice, it would be wrong, and nobody would see it in the schema.
UPDATE orders SET price = price * 100;
