//! The connector's process: `postgres_sink --config FILE [--secrets FILE]`.

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    give_large_blocks_back();
    connector_common::run("postgres", postgres_sink::run)
}

/// A batch is made in one thread and freed in another, in blocks of megabytes. glibc begins to keep such blocks once the
/// first was freed, in a heap for each thread, which comes to half as much memory again. With a threshold of its own it gives them
/// back to the system.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "mallopt(3) is C")]
fn give_large_blocks_back() {
    // SAFETY: no other thread runs yet, and a value that glibc doesn't take changes nothing.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 256 << 10);
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}
