//! What the engine calls, and what it offers: the SmartModule interface of Fluvio.
//!
//! For each batch the engine asks [`alloc`] for room, writes the encoded input there, calls [`map`], and is told
//! by `copy_records` where the encoded output is, which it reads after `map` has returned. So input and
//! output live here, from batch to batch.
#![allow(
    unsafe_code,
    reason = "exported names and an imported function are the interface"
)]

use std::cell::RefCell;

use crate::batch::Flattener;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    /// Tells the engine where the output is.
    fn copy_records(ptr: i32, len: i32);
}

#[derive(Default)]
struct Buffers {
    input: Vec<u8>,
    flattener: Flattener,
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

/// Room for an input of `len` bytes, until the next call.
#[unsafe(no_mangle)]
pub extern "C" fn alloc(len: usize) -> *mut u8 {
    BUFFERS.with_borrow_mut(|Buffers { input, .. }| {
        if input.len() < len {
            input.resize(len, 0);
        }
        input.as_mut_ptr()
    })
}

/// Flattens the batch of `len` bytes that was written where [`alloc`] said. Returns the number of records,
/// or a negative number, one of Fluvio's `SmartModuleTransformErrorStatus`.
#[unsafe(no_mangle)]
pub extern "C" fn map(_ptr: *mut u8, len: usize, _version: i32) -> i32 {
    BUFFERS.with_borrow_mut(|Buffers { input, flattener }| {
        let batch = input.get(..len).unwrap_or_default();
        match flattener.flatten(batch) {
            Ok(count) => {
                let output = flattener.output();
                // SAFETY: the engine only keeps the two numbers, and reads the memory they describe after `map`
                // has returned; until the next call the buffer neither moves nor changes.
                unsafe { copy_records(output.as_ptr() as i32, output.len() as i32) };
                i32::try_from(count).unwrap_or(i32::MAX)
            }
            Err(error) => error as i32,
        }
    })
}
