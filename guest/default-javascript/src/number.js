/**
 * The QuickJS bindings hand over an unsigned number as a signed one of so many bits.
 * This is the number that was meant, exact up to 2^53.
 */
export function unsigned(number, bits) {
  return number < 0 ? number + 2 ** bits : number;
}
