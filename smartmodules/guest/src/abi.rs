//! What the engine calls, and what it offers: the SmartModule interface of Fluvio.
//!
//! When a stream is opened, the engine asks [`Guest::alloc`] for room, writes the encoded parameters there and calls
//! `init`. For each batch it asks for room again, writes the encoded input there, calls the function that names what
//! the SmartModule does (`map`, `array_map`), and is told by `copy_records` where the encoded output is,
//! which it reads after the call has returned. So input and output live here, from batch to batch.

use crate::batch::{Flattener, Put};
use crate::parameters;

/// A SmartModule with its buffers. [`export!`](crate::export) makes one.
#[derive(Debug)]
pub struct Guest {
    input: Vec<u8>,
    flattener: Flattener,
    /// What the engine is to read after `init`.
    refusal: Vec<u8>,
}

impl Guest {
    /// A SmartModule that puts out what `put` makes of each envelope.
    #[must_use]
    pub fn new(put: Put) -> Self {
        Self {
            input: Vec::new(),
            flattener: Flattener::new(put),
            refusal: Vec::new(),
        }
    }

    /// Room for an input of `len` bytes, until the next call.
    pub fn alloc(&mut self, len: usize) -> *mut u8 {
        if self.input.len() < len {
            self.input.resize(len, 0);
        }
        self.input.as_mut_ptr()
    }

    /// Takes the parameters, `len` bytes that were written where [`Self::alloc`] said. Returns 0, or a negative
    /// number, one of Fluvio's `SmartModuleInitErrorStatus`.
    pub fn init(&mut self, len: usize, copy_records: impl FnOnce(i32, i32)) -> i32 {
        match parameters::read(self.input.get(..len).unwrap_or_default()) {
            Ok(options) => {
                self.flattener.set_options(options);
                0
            }
            Err(error) => {
                let status = error.status();
                if let parameters::InitError::Parameter(output) = error {
                    self.refusal = output;
                    tell(&self.refusal, copy_records);
                }
                status
            }
        }
    }

    /// Transforms the batch of `len` bytes that was written where [`Self::alloc`] said. Returns the number of
    /// records, or a negative number, one of Fluvio's `SmartModuleTransformErrorStatus`.
    pub fn transform(
        &mut self,
        len: usize,
        version: i32,
        copy_records: impl FnOnce(i32, i32),
    ) -> i32 {
        let batch = self.input.get(..len).unwrap_or_default();
        match self.flattener.flatten(batch, version) {
            Ok(count) => {
                tell(self.flattener.output(), copy_records);
                i32::try_from(count).unwrap_or(i32::MAX)
            }
            Err(error) => error as i32,
        }
    }
}

/// Tells the engine where an output is. It stays there until the engine's next call.
fn tell(output: &[u8], copy_records: impl FnOnce(i32, i32)) {
    copy_records(output.as_ptr() as i32, output.len() as i32);
}

/// Makes the crate a SmartModule: `export!(map, put)` exports Fluvio's interface with a transformation `map` that puts
/// out what the function `put`, a [`Put`](crate::batch::Put), makes of each envelope.
#[macro_export]
macro_rules! export {
    ($transformation:ident, $put:path) => {
        #[cfg(target_arch = "wasm32")]
        mod interface {
            #![allow(
                unsafe_code,
                reason = "exported names and an imported function are the interface"
            )]

            use std::cell::RefCell;

            use $crate::abi::Guest;

            #[link(wasm_import_module = "env")]
            unsafe extern "C" {
                /// Tells the engine where the output is.
                fn copy_records(ptr: i32, len: i32);
            }

            thread_local! {
                static GUEST: RefCell<Guest> = RefCell::new(Guest::new($put));
            }

            #[unsafe(no_mangle)]
            extern "C" fn alloc(len: usize) -> *mut u8 {
                GUEST.with_borrow_mut(|guest| guest.alloc(len))
            }

            #[unsafe(no_mangle)]
            extern "C" fn init(_ptr: *mut u8, len: usize, _version: i32) -> i32 {
                GUEST.with_borrow_mut(|guest| {
                    // SAFETY: the engine only keeps the two numbers, and reads the memory they describe after the
                    // call has returned; until the next call that memory neither moves nor changes.
                    guest.init(len, |ptr, len| unsafe { copy_records(ptr, len) })
                })
            }

            #[unsafe(no_mangle)]
            extern "C" fn $transformation(_ptr: *mut u8, len: usize, version: i32) -> i32 {
                GUEST.with_borrow_mut(|guest| {
                    // SAFETY: as above.
                    guest.transform(len, version, |ptr, len| unsafe { copy_records(ptr, len) })
                })
            }
        }
    };
}
