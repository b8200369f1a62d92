//! The allocator of the process. Not the library's: whoever links that brings an allocator of its own.

use tikv_jemallocator::Jemalloc;

/// The AWS SDK allocates some hundred small blocks for each call, and frees a part of them in another thread: that takes a
/// fifth more CPU with glibc.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// jemalloc reads its options here, a string as C has it. With few arenas, and what is free back with the system soon, it
/// needs hardly more memory than glibc.
#[expect(unsafe_code, reason = "jemalloc looks for this name")]
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static OPTIONS: &[u8; 46] = b"narenas:2,dirty_decay_ms:500,muzzy_decay_ms:0\0";
