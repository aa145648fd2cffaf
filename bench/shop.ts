/**
 * SQL that fills an empty database with about 610 MB of dump, or that share of it: customers, orders that carry a copy of
 * their product as JSON, stock with a padded column, and a log of events; the same on every machine but for what random()
 * gives. Rows of text, numbers, times and booleans, some of which recur soon, some much later, some never.
 */
export function shop(share = 1): string {
  const [customers, orders, stock, events] = [300_000, 650_000, 1_600_000, 1_500_000].map((n) => Math.round(n * share));
  return `
CREATE TABLE products (id int PRIMARY KEY, sku text, title text, description text, price numeric(8, 2));
CREATE TABLE customers (id bigint PRIMARY KEY, name text NOT NULL, email text, city text, street text, joined timestamptz, active bool);
CREATE TABLE orders (id bigint PRIMARY KEY, customer_id bigint, placed timestamptz, total numeric(12, 2), status text, details jsonb);
CREATE TABLE stock (id int PRIMARY KEY, product int, shelf int, amount int, counted date, remark char(80));
CREATE TABLE events (id bigint PRIMARY KEY, at timestamptz, host text, level text, kind int, duration_ms int, message text);

SELECT setseed(0.42);
CREATE TEMP TABLE words AS
SELECT i, (ARRAY['ba','ce','di','fo','gu','ha','je','ki','lo','mu','na','pe','ri','so','tu','va'])[1 + i % 16]
       || (ARRAY['n','r','st','l','m','nd','ck','sh'])[1 + i / 16 % 8]
       || (ARRAY['a','er','ing','o','ed','en','ly','um'])[1 + i / 128 % 8] AS word
FROM generate_series(0, 1023) i;

INSERT INTO products
SELECT p, 'SKU-' || upper(substr(md5(p::text), 1, 8)),
       (SELECT string_agg(word, ' ') FROM (SELECT word FROM words WHERE i + p > 0 ORDER BY random() LIMIT 5) x),
       (SELECT string_agg(word, ' ') FROM (SELECT word FROM words WHERE i + p > 0 ORDER BY random() LIMIT 30) x),
       round((random() * 500)::numeric, 2)
FROM generate_series(1, 2000) p;

INSERT INTO customers
SELECT n, initcap(a.word) || ' ' || initcap(b.word || c.word), a.word || '.' || b.word || c.word || n % 100 || '@example.org',
       initcap(c.word) || 'ville', initcap(b.word) || ' street ' || n % 200, timestamptz '2015-01-01' + n * interval '7 min', n % 5 <> 0
FROM generate_series(1, ${customers}) n
JOIN words a ON a.i = n * 7919::bigint % 1024 JOIN words b ON b.i = n * 104729::bigint / 7 % 1024 JOIN words c ON c.i = n / 13 % 1024;

INSERT INTO orders
SELECT n, 1 + n * 7919::bigint % ${customers}, timestamptz '2021-01-01' + n * interval '97 s', round(p.price * (1 + n % 4), 2),
       (ARRAY['new','paid','shipped','returned'])[1 + n / 7 % 4],
       jsonb_build_object('sku', p.sku, 'title', p.title, 'description', p.description, 'quantity', 1 + n % 4, 'unit_price', p.price,
         'currency', 'EUR', 'gift', n % 9 = 0,
         'shipping', jsonb_build_object('carrier', (ARRAY['dhl','ups','post'])[1 + n % 3], 'days', n % 6))
FROM generate_series(1, ${orders}) n
JOIN products p ON p.id = 1 + (power(n * 2654435761::bigint % 1000003 / 1000003.0, 2) * 1999)::int;

INSERT INTO stock
SELECT n, n % 2000 + 1, n / 2000, n * 48271::bigint % 1000, date '2025-01-01' + n % 365, CASE WHEN n % 97 = 0 THEN 'count again' ELSE '' END
FROM generate_series(1, ${stock}) n;

INSERT INTO events
SELECT n, timestamptz '2025-01-01' + n * interval '1.7 s', 'web-' || n % 12, (ARRAY['INFO','INFO','INFO','WARN','DEBUG'])[1 + n / 3 % 5],
       n % 17, (n * 48271::bigint % 2147483647 % 900)::int,
       CASE n % 4
         WHEN 0 THEN 'GET /api/v1/products/' || n * 7919::bigint % 2000 || ' 200'
         WHEN 1 THEN 'order ' || n * 104729::bigint % ${orders} || ' updated by customer ' || n * 7919::bigint % ${customers}
         WHEN 2 THEN 'POST /api/v1/orders 201 user-agent="Mozilla/5.0 (X11; Linux x86_64)"'
         ELSE 'session ' || md5((n / 4)::text) || ' expired'
       END
FROM generate_series(1, ${events}) n;

VACUUM ANALYZE;
CHECKPOINT;
`;
}
