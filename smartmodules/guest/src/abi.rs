//! Fluvio's SmartModule interface: the functions that the engine calls and the one that it
//! provides.
//!
//! As a stream opens, the engine requests a buffer from [`Guest::alloc`], writes the encoded
//! parameters into it and calls `init`. For each batch it requests a buffer again, writes the
//! encoded input into it and calls the SmartModule's transformation (`map`, `array_map`). The
//! module passes the address of the encoded output to `copy_records`; the engine reads it after the
//! call has returned. So this type owns the input and the output between batches.

use std::fmt::Debug;

use crate::parameters::InitError;

/// A batch could not be read as a whole. This indicates a bug in Fluvio; the content of a record is
/// never the cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum BatchError {
    /// The frame around the records is cut off.
    Input = -11,
    /// There are fewer records than announced, or they are cut off.
    Records = -22,
    /// There are more records than the interface can count.
    Output = -33,
}

/// The transformation of a SmartModule, without Fluvio's interface around it.
pub trait Transformation: Debug {
    /// Reads the parameters of a stream, an encoded `SmartModuleInitInput`.
    ///
    /// # Errors
    /// A parameter isn't allowed, or the bytes are not a valid input.
    fn configure(&mut self, parameters: &[u8]) -> Result<(), InitError>;

    /// Turns an encoded `SmartModuleInput` into an encoded `SmartModuleOutput` and returns the
    /// number of records.
    ///
    /// # Errors
    /// The bytes are not a valid input.
    fn transform(&mut self, input: &[u8], version: i32) -> Result<usize, BatchError>;

    /// Returns the encoded output of the last batch.
    fn output(&self) -> &[u8];
}

/// A SmartModule with its buffers, created by [`export!`](crate::export).
#[derive(Debug)]
pub struct Guest {
    input: Vec<u8>,
    transformation: Box<dyn Transformation>,
    /// The encoded error of `init`, which the engine reads after the call.
    refusal: Vec<u8>,
}

impl Guest {
    /// Creates a SmartModule that transforms each batch.
    #[must_use]
    pub fn new(transformation: impl Transformation + 'static) -> Self {
        Self {
            input: Vec::new(),
            transformation: Box::new(transformation),
            refusal: Vec::new(),
        }
    }

    /// Returns a buffer for an input of `len` bytes, valid until the next call.
    pub fn alloc(&mut self, len: usize) -> *mut u8 {
        if self.input.len() < len {
            self.input.resize(len, 0);
        }
        self.input.as_mut_ptr()
    }

    /// Reads the parameters, `len` bytes in the buffer of [`Self::alloc`]. Returns 0 or one of
    /// Fluvio's negative `SmartModuleInitErrorStatus`.
    pub fn init(&mut self, len: usize, copy_records: impl FnOnce(i32, i32)) -> i32 {
        let parameters = self.input.get(..len).unwrap_or_default();
        match self.transformation.configure(parameters) {
            Ok(()) => 0,
            Err(error) => {
                let status = error.status();
                if let InitError::Parameter(output) = error {
                    self.refusal = output;
                    report(&self.refusal, copy_records);
                }
                status
            }
        }
    }

    /// Transforms the batch of `len` bytes in the buffer of [`Self::alloc`]. Returns the number of
    /// records or one of Fluvio's negative `SmartModuleTransformErrorStatus`.
    pub fn transform(
        &mut self,
        len: usize,
        version: i32,
        copy_records: impl FnOnce(i32, i32),
    ) -> i32 {
        let batch = self.input.get(..len).unwrap_or_default();
        match self.transformation.transform(batch, version) {
            Ok(count) => {
                report(self.transformation.output(), copy_records);
                i32::try_from(count).unwrap_or(i32::MAX)
            }
            Err(error) => error as i32,
        }
    }
}

/// Reports the address of an output, which stays valid until the engine's next call.
fn report(output: &[u8], copy_records: impl FnOnce(i32, i32)) {
    copy_records(output.as_ptr() as i32, output.len() as i32);
}

/// Makes the crate a SmartModule: `export!(map, transformation)` exports Fluvio's interface with a
/// function `map` that runs the [`Transformation`](crate::abi::Transformation).
#[macro_export]
macro_rules! export {
    ($function:ident, $transformation:expr) => {
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
                /// Reports the address of the output to the engine.
                fn copy_records(ptr: i32, len: i32);
            }

            thread_local! {
                static GUEST: RefCell<Guest> = RefCell::new(Guest::new($transformation));
            }

            #[unsafe(no_mangle)]
            extern "C" fn alloc(len: usize) -> *mut u8 {
                GUEST.with_borrow_mut(|guest| guest.alloc(len))
            }

            #[unsafe(no_mangle)]
            extern "C" fn init(_ptr: *mut u8, len: usize, _version: i32) -> i32 {
                GUEST.with_borrow_mut(|guest| {
                    // SAFETY: the engine stores the two numbers and reads that memory after the
                    // call has returned; the memory neither moves nor changes until the next call.
                    guest.init(len, |ptr, len| unsafe { copy_records(ptr, len) })
                })
            }

            #[unsafe(no_mangle)]
            extern "C" fn $function(_ptr: *mut u8, len: usize, version: i32) -> i32 {
                GUEST.with_borrow_mut(|guest| {
                    // SAFETY: as above.
                    guest.transform(len, version, |ptr, len| unsafe { copy_records(ptr, len) })
                })
            }
        }
    };
}
