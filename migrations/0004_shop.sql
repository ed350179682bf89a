-- A small shop to read from, so that sources have something to show. Nothing of Tailrace depends on it.

CREATE SCHEMA IF NOT EXISTS shop;

COMMENT ON SCHEMA shop IS 'A made-up shop, for the examples of sources.';

CREATE TABLE shop.products (
  id integer PRIMARY KEY,
  name text NOT NULL,
  category text NOT NULL,
  price numeric(10, 2) NOT NULL CHECK (price > 0),
  last_updated timestamptz NOT NULL DEFAULT now()
);

-- A source that reads on by these columns finds what changed without reading the table.
CREATE INDEX products_last_updated ON shop.products (last_updated, id);

COMMENT ON TABLE shop.products IS 'What the shop sells.';
COMMENT ON COLUMN shop.products.price IS 'In euros.';
COMMENT ON COLUMN shop.products.last_updated IS 'When the row was last changed: set by every statement that changes it.';

-- A hundred products: each thing in four kinds.
INSERT INTO shop.products (id, name, category, price)
SELECT
  4 * (thing.place::integer - 1) + kind.place::integer,
  kind.name || ' ' || thing.name,
  thing.category,
  round(thing.price * kind.factor, 2)
FROM unnest(
  ARRAY['kettle', 'pan', 'knife', 'bowl', 'toaster', 'lamp', 'chair', 'table', 'shelf', 'mirror', 'tent', 'backpack',
    'stove', 'bottle', 'torch', 'keyboard', 'mouse', 'headset', 'camera', 'screen', 'puzzle', 'kite', 'ball', 'drum', 'train'],
  ARRAY['kitchen', 'kitchen', 'kitchen', 'kitchen', 'kitchen', 'home', 'home', 'home', 'home', 'home', 'outdoor', 'outdoor',
    'outdoor', 'outdoor', 'outdoor', 'electronics', 'electronics', 'electronics', 'electronics', 'electronics', 'toys', 'toys',
    'toys', 'toys', 'toys'],
  ARRAY[29.90, 39.50, 24.00, 9.90, 44.90, 34.00, 89.00, 199.00, 74.50, 59.00, 179.00, 89.90, 64.00, 19.90, 14.50, 69.00, 29.90,
    99.00, 449.00, 249.00, 16.90, 21.50, 12.90, 39.00, 49.90]::numeric[]
) WITH ORDINALITY AS thing (name, category, price, place)
CROSS JOIN unnest(
  ARRAY['small', 'plain', 'sturdy', 'fine'],
  ARRAY[0.80, 1.00, 1.25, 1.90]::numeric[]
) WITH ORDINALITY AS kind (name, factor, place);
