// An upload by tus-js-client that is given up behind its first piece and gone on with by another one.
// Arguments: the endpoint, the login in base64, the file, the length of a piece in bytes.
const fs = require('fs'), tus = require('tus-js-client');
const [endpoint, login, path, pieces] = process.argv.slice(2);
const size = fs.statSync(path).size;
const go = (uploadUrl, stopAt) => new Promise((done, failed) => {
  const upload = new tus.Upload(fs.createReadStream(path, {}), {
    endpoint, uploadUrl, uploadSize: size, chunkSize: Number(pieces), retryDelays: [0, 100, 500],
    headers: { Authorization: 'Basic ' + login }, metadata: { filename: 'by tus-js.bin', filetype: 'x/y' },
    onError: failed, onSuccess: () => done(upload.url),
    onChunkComplete: (_, sent) => { if (stopAt && sent >= stopAt) upload.abort().then(() => done(upload.url)); },
  });
  upload.start();
});
(async () => { const url = await go(null, 1); await go(url); console.log(url); })().catch(e => { console.error(e.message); process.exit(1); });
