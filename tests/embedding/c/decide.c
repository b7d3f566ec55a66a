#include <stdlib.h>
#include <string.h>

#include "facts.h"

static const char INTERFACE[] = "entail:policy/resolver@0.2.0";
static const uint64_t FUEL = 10000000;
static const int64_t MEMORY_BYTES = 16 << 20;

struct policy {
  wasm_engine_t *engine;
  wasmtime_component_t *component;
  wasmtime_component_linker_t *linker;
  wasmtime_component_export_index_t *decide;
};

// Writes the words of an error, or ends the program with them.
static void report(wasmtime_error_t *error, bool fatal) {
  wasm_name_t words;
  wasmtime_error_message(error, &words);
  wasmtime_error_delete(error);
  char *text = strndup(words.data, words.size);
  wasm_byte_vec_delete(&words);
  write_texts(fatal ? stderr : stdout, "failure", text, NULL, NULL);
  free(text);
  if (fatal) exit(1);
}

static struct policy load(const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file) perror(path), exit(1);
  static uint8_t bytes[4 << 20];
  size_t size = fread(bytes, 1, sizeof bytes, file);
  fclose(file);

  struct policy policy;
  wasm_config_t *config = wasm_config_new();
  wasmtime_config_consume_fuel_set(config, true);
  policy.engine = wasm_engine_new_with_config(config);
  wasmtime_error_t *error = wasmtime_component_new(policy.engine, bytes, size, &policy.component);
  if (error) report(error, true);
  // Empty: a policy imports nothing.
  policy.linker = wasmtime_component_linker_new(policy.engine);
  wasmtime_component_export_index_t *resolver =
      wasmtime_component_get_export_index(policy.component, NULL, INTERFACE, strlen(INTERFACE));
  policy.decide =
      resolver ? wasmtime_component_get_export_index(policy.component, resolver, "decide", 6) : NULL;
  if (!policy.decide) fprintf(stderr, "%s has no %s\n", path, INTERFACE), exit(1);
  wasmtime_component_export_index_delete(resolver);
  return policy;
}

// Decides one line of facts in a new instance, and writes the result.
static void decide(const struct policy *policy, const char *line, size_t size) {
  value arguments[2], result = {.kind = WASMTIME_COMPONENT_BOOL};
  char problem[200];
  if (read_facts(line, size, arguments, problem)) {
    wasmtime_store_t *store = wasmtime_store_new(policy->engine, NULL, NULL);
    wasmtime_context_t *context = wasmtime_store_context(store);
    wasmtime_store_limiter(store, MEMORY_BYTES, -1, -1, -1, -1);
    wasmtime_component_instance_t instance;
    wasmtime_component_func_t function;
    wasmtime_error_t *error = wasmtime_context_set_fuel(context, FUEL);
    if (!error)
      error = wasmtime_component_linker_instantiate(policy->linker, context, policy->component,
                                                    &instance);
    if (!error && !wasmtime_component_instance_get_func(&instance, context, policy->decide, &function))
      error = wasmtime_error_new("decide is not a function");
    if (!error) error = wasmtime_component_func_call(&function, context, arguments, 2, &result, 1);
    if (error) report(error, false);
    else write_result(stdout, &result);
    wasmtime_store_delete(store);
  } else {
    write_texts(stdout, "malformed", problem, NULL, NULL);
  }
  wasmtime_component_val_delete(&arguments[0]);
  wasmtime_component_val_delete(&arguments[1]);
}

int main(void) {
  struct policy policy = load("default-policy.wasm");
  char *line = NULL;
  size_t room = 0;
  for (ssize_t size; (size = getline(&line, &room, stdin)) > 0;) {
    if (line[size - 1] == '\n') size--;
    if (size > 0) decide(&policy, line, (size_t)size);
  }
  free(line);
  wasmtime_component_export_index_delete(policy.decide);
  wasmtime_component_linker_delete(policy.linker);
  wasmtime_component_delete(policy.component);
  wasm_engine_delete(policy.engine);
}
