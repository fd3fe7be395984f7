"""Which addresses belong to the public internet, and to nothing that only this machine or network reaches."""

from __future__ import annotations

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# IANA's registries of special-purpose addresses (RFC 6890), what of them is global too where no server of
# images can be, and what is special without standing there. Python's is_global differs between its versions.
_NOT_PUBLIC_4 = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",
        "100.64.0.0/10",  # between provider and customer; metadata of a cloud (100.100.100.200)
        "127.0.0.0/8",
        "168.63.129.16/32",  # public by its number; a cloud's machines reach their host there
        "169.254.0.0/16",  # link; metadata of clouds (169.254.169.254)
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocols; metadata of a cloud (192.0.0.192)
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # automatic multicast tunneling
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # measurements
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
_GLOBAL_6 = ipaddress.IPv6Network("2000::/3")  # all that is given out
_NOT_PUBLIC_6 = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # protocols: Teredo, measurements, ORCHID and others
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, which leads to the IPv4 address within; not in use any more (RFC 7526)
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_TRANSLATED = ipaddress.IPv6Network(
    "64:ff9b::/96"
)  # NAT64 (RFC 6052); networks without IPv4 name every host so
_ISATAP = (0x00005EFE, 0x02005EFE)  # RFC 5214, 6.1


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public internet.

    An IPv6 address that stands for an IPv4 address (mapped, NAT64) is as public as that.
    """
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not any(address in network for network in _NOT_PUBLIC_4)
    if address.scope_id is not None:
        return False
    bare = int(address)
    if address in _MAPPED or address in _TRANSLATED:
        return is_public(ipaddress.IPv4Address(bare & 0xFFFFFFFF))
    if address not in _GLOBAL_6 or any(address in network for network in _NOT_PUBLIC_6):
        return False
    return address.is_global and bare >> 32 & 0xFFFFFFFF not in _ISATAP
