-- A rotation of the KEK looks for what is still wrapped under an older generation, again and again.
CREATE INDEX share_key_by_kek ON share_key (kek_generation);
