//! The databases as somebody with the files changes them, behind the server's back.

use std::path::Path;

use super::child::{Finished, Run};
use super::python;

/// Runs one or more statements on a database and gives the rows of the last one that has any.
/// Foreign keys are not looked at.
pub(crate) fn edit(database: &Path, sql: &str) -> Finished {
    let script = "import sqlite3, sys\n\
                  db = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)\n\
                  for statement in sys.argv[2].split(';;'):\n    [print(*row) for row in db.execute(statement)]\n\
                  db.close()";
    Run::new(python()).args(["-c", script]).arg(database).arg(sql).finish().ok()
}
