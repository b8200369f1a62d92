//! The allocator of programs that run the source. The library does not set it, since a program that
//! links it may have its own.

#[doc(hidden)]
pub use tikv_jemallocator::Jemalloc;

/// Sets jemalloc as the program's allocator.
///
/// The AWS SDK allocates some hundred small blocks for each call, and frees a part of them in
/// another thread: that takes a fifth more CPU with glibc. With one arena and a short decay
/// jemalloc needs hardly more memory than glibc.
#[macro_export]
macro_rules! use_jemalloc {
    () => {
        #[global_allocator]
        static ALLOCATOR: $crate::allocator::Jemalloc = $crate::allocator::Jemalloc;

        /// The options of jemalloc, as a C string.
        // jemalloc reads them from the symbol of this name.
        #[allow(unsafe_code)]
        #[unsafe(export_name = "_rjem_malloc_conf")]
        pub static JEMALLOC_OPTIONS: &[u8; 46] = b"narenas:1,dirty_decay_ms:250,muzzy_decay_ms:0\0";
    };
}
