-- The products and lists of made-up facts: 2,000 and 50. Those that are there stay as they are.
WITH products AS (
    INSERT INTO dim_product (natural_key, product_id, product_name, product_brand, product_category,
                             product_category2)
    SELECT 'id:GEN_' || n, 'GEN_' || n,
           format('%s %s No. %s', brand, noun, n), brand, category, noun || 's'
    FROM generate_series(1, 2000) AS n,
         LATERAL (SELECT (ARRAY['Aurora', 'Birch & Co', 'Cobalt', 'Driftwood', 'Ember', 'Fjord',
                          'Granite', 'Høst'])[1 + n % 8]) AS b (brand),
         LATERAL (SELECT (ARRAY['Apparel', 'Home', 'Sports', 'Electronics'])[1 + n % 4])
             AS c (category),
         LATERAL (SELECT (ARRAY['dress', 'saucepan', 'tent', 'headphone'])[1 + n % 4]) AS w (noun)
    ON CONFLICT DO NOTHING
)
INSERT INTO dim_list (natural_key, list_id, list_name)
SELECT E'id:gen_' || n || E'\x1fname:Shelf ' || n, 'gen_' || n, 'Shelf ' || n
FROM generate_series(1, 50) AS n
ON CONFLICT DO NOTHING;
