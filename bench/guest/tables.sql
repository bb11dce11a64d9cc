-- Fills two tables with SIZE rows, indexes, joins, updates and sums them.
CREATE TABLE orders(id INTEGER PRIMARY KEY, customer INTEGER, amount INTEGER, note TEXT);
CREATE TABLE customers(id INTEGER PRIMARY KEY, name TEXT);
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < SIZE)
    INSERT INTO orders SELECT i, (i * 7919) % (SIZE / 10 + 1), (i * 104729) % 1000, 'order ' || hex(i * 31) FROM n;
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < SIZE / 10)
    INSERT INTO customers SELECT i, 'customer ' || (i * 17 % 1009) FROM n;
COMMIT;
CREATE INDEX by_customer ON orders(customer, amount);
UPDATE orders SET amount = amount + 1 WHERE note LIKE '%7%';
SELECT count(*), sum(amount), min(note), max(note) FROM orders;
SELECT name, count(*) AS many, sum(amount) AS total FROM orders JOIN customers ON customers.id = customer
    GROUP BY name ORDER BY total DESC, name LIMIT 20;
DELETE FROM orders WHERE amount % 3 = 0;
SELECT count(DISTINCT substr(note, 7)), sum(length(note)) FROM orders;
