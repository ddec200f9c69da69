/*
 * http_sink.h
 *		The HTTP sink: an implementation of ports/event_sink.h.
 */
#ifndef BANK_HTTP_SINK_H
#define BANK_HTTP_SINK_H

#include "ports/event_sink.h"

extern const BankSinkCallbacks *bank_http_callbacks(void);

#endif							/* BANK_HTTP_SINK_H */
