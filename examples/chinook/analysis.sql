-- A music shop's questions. Load chinook.sql first; every answer equals PostgreSQL's, byte for byte.

\echo row counts
SELECT 'album' AS relation, count(*) FROM album
UNION ALL SELECT 'artist', count(*) FROM artist
UNION ALL SELECT 'customer', count(*) FROM customer
UNION ALL SELECT 'employee', count(*) FROM employee
UNION ALL SELECT 'genre', count(*) FROM genre
UNION ALL SELECT 'invoice', count(*) FROM invoice
UNION ALL SELECT 'invoice_line', count(*) FROM invoice_line
UNION ALL SELECT 'media_type', count(*) FROM media_type
UNION ALL SELECT 'playlist', count(*) FROM playlist
UNION ALL SELECT 'playlist_track', count(*) FROM playlist_track
UNION ALL SELECT 'track', count(*) FROM track
ORDER BY relation;

\echo revenue by country
SELECT billing_country, count(*) AS invoices, sum(total) AS revenue, round(avg(total), 2) AS average
FROM invoice GROUP BY billing_country ORDER BY revenue DESC, billing_country LIMIT 10;

\echo best-selling artists
SELECT ar.name, sum(il.quantity) AS sold, sum(il.unit_price * il.quantity) AS revenue
FROM invoice_line il
JOIN track t USING (track_id)
JOIN album al ON al.album_id = t.album_id
JOIN artist ar ON ar.artist_id = al.artist_id
GROUP BY ar.artist_id, ar.name
ORDER BY revenue DESC, ar.name LIMIT 10;

\echo genres by length
SELECT g.name, count(t.track_id) AS tracks, round(avg(t.milliseconds) / 1000.0, 1) AS seconds,
       min(t.milliseconds), max(t.milliseconds)
FROM genre g LEFT JOIN track t ON t.genre_id = g.genre_id
GROUP BY g.name HAVING count(*) > 20 ORDER BY seconds DESC;

\echo who reports to whom
WITH RECURSIVE chain AS (
    SELECT employee_id, first_name, last_name, title, reports_to, 1 AS depth
    FROM employee WHERE reports_to IS NULL
    UNION ALL
    SELECT e.employee_id, e.first_name, e.last_name, e.title, e.reports_to, c.depth + 1
    FROM employee e JOIN chain c ON e.reports_to = c.employee_id
)
SELECT depth, repeat('  ', depth - 1) || first_name || ' ' || last_name AS name, title
FROM chain ORDER BY depth, employee_id;

\echo customers and their share
SELECT customer_id, last_name, spent, rank() OVER (ORDER BY spent DESC) AS place,
       round(100 * spent / sum(spent) OVER (), 3) AS percent
FROM (SELECT c.customer_id, c.last_name, sum(i.total) AS spent
      FROM customer c JOIN invoice i ON i.customer_id = c.customer_id
      GROUP BY c.customer_id, c.last_name) s
ORDER BY place, customer_id LIMIT 12;

\echo months of two years
SELECT to_char(date_trunc('month', invoice_date), 'YYYY-MM') AS month, count(*), sum(total),
       sum(sum(total)) OVER (ORDER BY date_trunc('month', invoice_date)) AS running
FROM invoice WHERE invoice_date < (SELECT min(invoice_date) + interval '2 years' FROM invoice)
GROUP BY date_trunc('month', invoice_date) ORDER BY 1;

\echo tracks never sold
SELECT count(*) FROM track t
WHERE NOT EXISTS (SELECT 1 FROM invoice_line il WHERE il.track_id = t.track_id);

\echo longest track of each genre
SELECT DISTINCT ON (g.name) g.name, t.name AS track, t.milliseconds
FROM track t JOIN genre g ON g.genre_id = t.genre_id
ORDER BY g.name, t.milliseconds DESC, t.track_id LIMIT 10;

\echo playlists by size
SELECT p.name, count(pt.track_id) AS tracks, coalesce(sum(t.unit_price), 0) AS price
FROM playlist p
LEFT JOIN playlist_track pt USING (playlist_id)
LEFT JOIN track t USING (track_id)
GROUP BY p.playlist_id, p.name ORDER BY tracks DESC, p.playlist_id;

\echo support by year
SELECT e.last_name, extract(year FROM i.invoice_date) AS year, count(*), sum(i.total)
FROM employee e
JOIN customer c ON c.support_rep_id = e.employee_id
JOIN invoice i ON i.customer_id = c.customer_id
GROUP BY GROUPING SETS ((e.last_name, extract(year FROM i.invoice_date)), (e.last_name), ())
ORDER BY e.last_name NULLS LAST, year NULLS LAST;

\echo what a composer wrote
SELECT composer, count(*), array_agg(DISTINCT media_type_id ORDER BY media_type_id) AS media,
       string_agg(DISTINCT genre_id::text, ',' ORDER BY genre_id::text) AS genres
FROM track WHERE composer ILIKE '%page%' GROUP BY composer ORDER BY count(*) DESC, composer LIMIT 8;

\echo invoices above the average of the customer
SELECT i.invoice_id, i.customer_id, i.total
FROM invoice i
WHERE i.total > 1.5 * (SELECT avg(total) FROM invoice x WHERE x.customer_id = i.customer_id)
  AND i.customer_id IN (SELECT customer_id FROM customer WHERE country IN ('Canada', 'France'))
ORDER BY i.total DESC, i.invoice_id LIMIT 15;

\echo artists without albums, and albums in two playlists
SELECT name FROM artist EXCEPT SELECT ar.name FROM artist ar JOIN album al USING (artist_id) ORDER BY 1 LIMIT 5;
SELECT count(*) FROM (
    SELECT album_id FROM track JOIN playlist_track USING (track_id) WHERE playlist_id = 1
    INTERSECT
    SELECT album_id FROM track JOIN playlist_track USING (track_id) WHERE playlist_id = 5) both_lists;
