import { describe, expect, it } from "vitest";
import { isAddressAllowed } from "../../../../src/pipeline/verify/ip-allow.ts";

describe("the address list of a credential", () => {
  it.each([
    ["any address where the list is empty", "203.0.113.9", []],
    ["an unknown address where the list is empty", null, []],
    ["the first address of a block", "10.0.0.0", ["10.0.0.0/8"]],
    ["the last address of a block", "10.255.255.255", ["10.0.0.0/8"]],
    ["a block that does not end at a byte", "172.31.255.255", ["172.16.0.0/12"]],
    ["a block written with host bits", "10.1.2.3", ["10.9.9.9/8"]],
    ["a single address", "192.0.2.1", ["192.0.2.1"]],
    ["the second block", "192.0.2.1", ["10.0.0.0/8", "192.0.2.0/24"]],
    ["everything IPv4", "203.0.113.9", ["0.0.0.0/0"]],
    ["an IPv6 block", "2001:db8:ffff::1", ["2001:db8::/32"]],
    ["IPv6 in upper case and long form", "2001:0DB8:0000:0000:0000:0000:0000:0001", ["2001:db8::1"]],
    ["everything IPv6", "2001:db8::1", ["::/0"]],
    ["an IPv4-mapped address under an IPv4 block (RFC 4291 §2.5.5.2)", "::ffff:10.1.2.3", ["10.0.0.0/8"]],
    ["the same in hexadecimal", "::FFFF:0a01:0203", ["10.0.0.0/8"]],
    ["an IPv4 address under a mapped block", "10.1.2.3", ["::ffff:10.0.0.0/104"]],
    ["an IPv4 address under a mapped single address", "10.1.2.3", ["::ffff:10.1.2.3"]],
    ["the unspecified address", "::", ["::/128"]],
  ])("allows %s", (_name, address, blocks) => {
    expect(isAddressAllowed(address, blocks)).toBe(true);
  });

  it.each([
    ["an unknown address under a list", null, ["0.0.0.0/0"]],
    ["the address before a block", "9.255.255.255", ["10.0.0.0/8"]],
    ["the address after a block", "11.0.0.0", ["10.0.0.0/8"]],
    ["one bit beyond a block", "172.32.0.0", ["172.16.0.0/12"]],
    ["another single address", "192.0.2.2", ["192.0.2.1"]],
    ["IPv6 under everything IPv4", "2001:db8::1", ["0.0.0.0/0"]],
    ["IPv4 under everything IPv6", "203.0.113.9", ["::/0"]],
    ["a mapped address outside the block", "::ffff:11.0.0.1", ["10.0.0.0/8"]],
    ["an IPv4-compatible address, which is not a mapped one", "::10.1.2.3", ["10.0.0.0/8"]],
    ["IPv6 next to the block", "2001:db9::", ["2001:db8::/32"]],
    ["an IPv6 block that ends within a byte", "2001:db8:8000::", ["2001:db8::/33"]],
    ["leading zeros, which some read as octal", "010.1.2.3", ["10.0.0.0/8"]],
    ["hexadecimal IPv4", "0x0a.1.2.3", ["10.0.0.0/8"]],
    ["a short IPv4 address", "10.1", ["10.0.0.0/8"]],
    ["a number beyond a byte", "10.1.2.256", ["10.0.0.0/8"]],
    ["a blank before the address", " 10.1.2.3", ["10.0.0.0/8"]],
    ["a list of addresses", "10.1.2.3, 10.1.2.4", ["10.0.0.0/8"]],
    ["a port behind the address", "10.1.2.3:80", ["10.0.0.0/8"]],
    ["a zone", "fe80::1%eth0", ["fe80::/10"]],
    ["two gaps in IPv6", "2001::db8::1", ["::/0"]],
    ["nine groups", "1:2:3:4:5:6:7:8:9", ["::/0"]],
    ["a gap that stands for nothing", "1:2:3:4:5:6:7::8", ["::/0"]],
    ["a group of five digits", "12345::", ["::/0"]],
    ["IPv4 in the middle of IPv6", "::10.1.2.3:1", ["::/0"]],
    ["nothing", "", ["0.0.0.0/0", "::/0"]],
  ])("refuses %s", (_name, address, blocks) => {
    expect(isAddressAllowed(address, blocks)).toBe(false);
  });

  it.each([
    "10.0.0.0/33",
    "10.0.0.0/",
    "10.0.0.0/-1",
    "10.0.0.0/08",
    "10.0.0/8",
    "2001:db8::/129",
    "*",
    "",
    "10.0.0.0/8/8",
    "::ffff:10.0.0.0/95",
  ])("lets an entry that is no block allow nothing: %s", (entry) => {
    expect(isAddressAllowed("10.0.0.1", [entry])).toBe(false);
    expect(isAddressAllowed("10.0.0.1", [entry, "10.0.0.1"])).toBe(true);
  });
});
