-- What decides who may do what is authenticated.

-- A MAC under a key of the house over what the row says (`docs/format.md`). Who writes the database without the keys cannot
-- make one. Null in houses of before; the first opening fills it in.
ALTER TABLE ticket ADD COLUMN proof BLOB;
ALTER TABLE engineer ADD COLUMN proof BLOB;
ALTER TABLE engineer_key ADD COLUMN proof BLOB;
-- Over the notice and the address that an operator gave it.
ALTER TABLE notice ADD COLUMN address_proof BLOB;
