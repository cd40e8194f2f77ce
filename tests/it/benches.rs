//! What `benches/compare` says of its figures is proved by its own tests; they start no server and
//! measure nothing.

use std::process::Command;

use crate::support::repository;

#[test]
fn the_bench_passes_its_own_tests() {
    let run = Command::new("python3")
        .args(["-B", "-m", "unittest", "compare_lib.test"])
        .current_dir(repository().join("benches"))
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}
