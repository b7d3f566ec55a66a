/**
 * The QuickJS bindings pass an unsigned number as a signed one with this many bits.
 * Returns the unsigned number, exact up to 2^53.
 */
export function unsigned(number, bits) {
  return number < 0 ? number + 2 ** bits : number;
}
