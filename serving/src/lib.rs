//! The bundled model server: for now, the schema of the inference tables that it will log.
//!
//! The schema is that of the tables which gateway-enabled serving endpoints write today, so that one monitor reads
//! both. Knows nothing of monitors.

pub mod inference_table;
