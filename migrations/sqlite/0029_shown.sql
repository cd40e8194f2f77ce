-- How the ticket system writes a reference, where that is not the login name: '#4711', 'RT/4711'.
ALTER TABLE ticket ADD COLUMN shown TEXT;
