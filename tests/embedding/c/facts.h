// The JSON of facts and decisions, as the conformance vectors have it, and the values that
// wasmtime's C API takes and returns.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <wasmtime.h>

typedef wasmtime_component_val_t value;

// Reads one line of JSON into the arguments of `decide`. Anything that is not exactly of
// the contract is an error: then this returns false, and `problem` has a sentence. The
// caller deletes both arguments in either case.
bool read_facts(const char *text, size_t size, value arguments[2], char problem[200]);

// Writes what `decide` returned as one line, and deletes it.
void write_result(FILE *out, value *result);

// Writes an object with two texts.
void write_texts(FILE *out, const char *name, const char *text, const char *name2,
                 const char *text2);
