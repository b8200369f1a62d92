//! The settings of the C library's allocator.

/// Has large blocks returned to the system when they are freed. Call it before a second thread
/// runs.
///
/// One thread makes a batch and another frees it, in blocks of megabytes. After the first was
/// freed, glibc keeps such blocks, in a heap for each thread, which takes half as much memory
/// again. With an explicit threshold it returns them.
pub fn return_large_blocks() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[expect(unsafe_code, reason = "mallopt(3) is C")]
    // SAFETY: no other thread runs yet, and a value that glibc refuses changes nothing.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 256 << 10);
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}
