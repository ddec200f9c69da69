/*
 * transfer.h
 *		A request on its way: a handle of libcurl and what belongs to it.
 */
#ifndef BANK_HTTP_TRANSFER_H
#define BANK_HTTP_TRANSFER_H

#include "adapters/sinks/http/response.h"
#include "adapters/sinks/http/sockets.h"
#include "ports/event_sink.h"

#include <curl/curl.h>

typedef enum BankHttpTransferState
{
	BANK_HTTP_IDLE,				/* can be used for the next request */
	BANK_HTTP_UNDER_WAY,		/* libcurl has it */
	BANK_HTTP_ENDED				/* its delivery is known and is still to be told */
} BankHttpTransferState;

typedef struct BankHttpTransfer
{
	BankHttpTransferState state;
	CURL	   *easy;			/* kept from one request to the next */
	const BankSinkHost *host;
	BankHttpSockets *sockets;	/* the sink's */
	BankSinkRequest *request;	/* NULL: none, or it was cancelled */
	struct curl_slist *headers; /* of the request; libcurl points to them */
	char	   *array;			/* body of a batch, likewise */
	BankHttpResponse response;
	BankDelivery delivery;		/* once it has ended */
	char		refused[128];	/* why no socket was opened, "" */
	char		error[CURL_ERROR_SIZE]; /* what libcurl says */
	struct BankHttpTransfer *next;	/* in the list of its state, if that has one */
	struct BankHttpTransfer *next_of_all;
} BankHttpTransfer;

extern BankHttpTransfer *bank_http_transfer_create(const BankSinkHost *host,
												   BankHttpSockets *sockets);
extern const char *bank_http_transfer_begin(BankHttpTransfer *transfer,
											BankSinkRequest *request);
extern void bank_http_transfer_ended(BankHttpTransfer *transfer, CURLcode code);
extern void bank_http_transfer_clear(BankHttpTransfer *transfer);

#endif							/* BANK_HTTP_TRANSFER_H */
