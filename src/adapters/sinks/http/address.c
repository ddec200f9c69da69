/*
 * address.c
 *		Which network addresses are public.
 *
 * A URL is chosen by whoever may subscribe, the request is sent by the database server,
 * which may reach what that user may not: its own services, the machines beside it, the
 * metadata service of a cloud. So requests go to public addresses only, unless
 * banking.allow_private_endpoints says otherwise.
 *
 * Pure functions; no allocation.
 */
#include "adapters/sinks/http/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef struct Ipv4Net
{
	uint32_t	net;
	int			bits;
} Ipv4Net;

#define IPV4(a, b, c, d) \
	((uint32_t) (a) << 24 | (uint32_t) (b) << 16 | (uint32_t) (c) << 8 | (uint32_t) (d))

/* What the IANA does not call global among special-purpose IPv4 addresses, and multicast. */
static const Ipv4Net private_nets[] = {
	{IPV4(0, 0, 0, 0), 8},		/* this network; 0.0.0.0 reaches this very host */
	{IPV4(10, 0, 0, 0), 8},		/* private, RFC 1918 */
	{IPV4(100, 64, 0, 0), 10},	/* carrier-grade NAT, RFC 6598 */
	{IPV4(127, 0, 0, 0), 8},	/* loopback */
	{IPV4(168, 63, 129, 16), 32},	/* the host of a virtual machine in Azure */
	{IPV4(169, 254, 0, 0), 16}, /* link-local, metadata services of clouds */
	{IPV4(172, 16, 0, 0), 12},	/* private, RFC 1918 */
	{IPV4(192, 0, 0, 0), 24},	/* protocol assignments, RFC 6890 */
	{IPV4(192, 0, 2, 0), 24},	/* documentation */
	{IPV4(192, 88, 99, 0), 24}, /* relays of 6to4, RFC 7526 */
	{IPV4(192, 168, 0, 0), 16}, /* private, RFC 1918 */
	{IPV4(198, 18, 0, 0), 15},	/* benchmarks, RFC 2544 */
	{IPV4(198, 51, 100, 0), 24},	/* documentation */
	{IPV4(203, 0, 113, 0), 24}, /* documentation */
	{IPV4(224, 0, 0, 0), 4},	/* multicast */
	{IPV4(240, 0, 0, 0), 4},	/* reserved, and broadcast */
};

/* Is this IPv4 address, in host byte order, anything else than a public one? */
static bool
ipv4_private(uint32_t address)
{
	size_t		i;

	for (i = 0; i < sizeof(private_nets) / sizeof(private_nets[0]); i++)
	{
		if ((address ^ private_nets[i].net) >> (32 - private_nets[i].bits) == 0)
			return true;
	}
	return false;
}

/*
 * The same for IPv6. Global unicast is 2000::/3, with exceptions; a translated IPv4
 * address is as private as the IPv4 address in it. Everything else is private, be it
 * assigned already or not.
 */
static bool
ipv6_private(const uint8_t bytes[16])
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b};
	uint32_t	groups = IPV4(bytes[0], bytes[1], bytes[2], bytes[3]);

	if (memcmp(bytes, mapped, 12) == 0 || memcmp(bytes, nat64, 12) == 0)
		return ipv4_private(IPV4(bytes[12], bytes[13], bytes[14], bytes[15]));
	if (groups >> 16 == 0x2002) /* 6to4, RFC 3056 */
		return ipv4_private(IPV4(bytes[2], bytes[3], bytes[4], bytes[5]));
	return groups >> 29 != 1 ||
		groups >> 9 == UINT32_C(0x20010000) >> 9 || /* protocols, Teredo among them */
		groups == UINT32_C(0x20010db8) ||	/* documentation, RFC 3849 */
		groups >> 12 == UINT32_C(0x3fff0000) >> 12; /* documentation, RFC 9637 */
}

/* Is this address anything else than a public one of IPv4 or IPv6? */
bool
bank_http_address_private(const struct sockaddr *address)
{
	if (address->sa_family == AF_INET)
	{
		struct sockaddr_in in;

		memcpy(&in, address, sizeof(in));
		return ipv4_private(ntohl(in.sin_addr.s_addr));
	}
	if (address->sa_family == AF_INET6)
	{
		struct sockaddr_in6 in6;

		memcpy(&in6, address, sizeof(in6));
		return ipv6_private(in6.sin6_addr.s6_addr);
	}
	return true;
}

/* An address as people write it, without port and zone. */
void
bank_http_address_text(const struct sockaddr *address, char *text, size_t size)
{
	const char *done = NULL;

	if (address->sa_family == AF_INET)
	{
		struct sockaddr_in in;

		memcpy(&in, address, sizeof(in));
		done = inet_ntop(AF_INET, &in.sin_addr, text, (socklen_t) size);
	}
	else if (address->sa_family == AF_INET6)
	{
		struct sockaddr_in6 in6;

		memcpy(&in6, address, sizeof(in6));
		done = inet_ntop(AF_INET6, &in6.sin6_addr, text, (socklen_t) size);
	}
	if (done == NULL)
		(void) snprintf(text, size, "of family %d", (int) address->sa_family);
}
