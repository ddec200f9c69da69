# bank_post_transfers() against bank_transfer(): random batches on one database, the same orders one at
# a time on its twin. Outcomes, events and read models must be equal. The batches run on two databases, once
# for each writer (setting banking.writer).
#
# BANKING_TEST_BATCHES batches (default 2000) of 1 to 200 orders each, always the same ones; another
# BANKING_TEST_SEED makes others. For the long run:
#   BANKING_TEST_BATCHES=5000 prove ... test/tap/110_batch_differential.pl

use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;

use Ledger;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $batches = $ENV{BANKING_TEST_BATCHES} // 2000;
my $seed = $ENV{BANKING_TEST_SEED} // 20260131;
my $node = ledger_node('batch_differential', conf => "fsync = off\nstatement_timeout = 600s\n");

srand($seed);
note "seed $seed";

# Accounts 1 to 8 are ordinary, 1 and 2 the busiest; 9 has an overdraft and a ceiling, 10 a ceiling,
# 11 is frozen, 12 closed, 13 and 14 are in another currency, 15 in one without decimals.
my $setup = <<'SQL';
CREATE FUNCTION house(code text, currency text) RETURNS uuid LANGUAGE sql STABLE AS
  $$ SELECT account_id FROM bank_accounts AS h WHERE (h.house_account, h.currency) = ($1, $2) $$;
CREATE FUNCTION stripe(code text, currency text) RETURNS uuid LANGUAGE sql STABLE AS
  $$ SELECT account_id FROM bank.accounts AS h WHERE (h.house_code, h.currency) = ($1, $2) $$;
-- an account's name that is the same in both databases
CREATE FUNCTION name_of(id uuid) RETURNS text LANGUAGE sql STABLE AS
  $$ SELECT COALESCE((SELECT concat_ws(' ', house_code, currency) FROM bank.accounts
                      WHERE account_id = id AND house_code IS NOT NULL), id::text) $$;
CREATE FUNCTION told(r bank_order_result) RETURNS text LANGUAGE sql VOLATILE AS
  $$ SELECT concat_ws('|', r.ordinal, r.ok, r.code, r.message,
       regexp_replace(r.detail, '(?!00000000-)\m[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\M', '<uuid>', 'g'),
       r.event_id, CASE WHEN r.ok THEN r.replayed END) $$;

-- what bank_post_transfers is to do, by single calls: each chain in a savepoint
CREATE FUNCTION post_singly(from_accounts uuid[], to_accounts uuid[], amounts bank_money[],
    idempotency_keys text[] DEFAULT NULL, linked boolean[] DEFAULT NULL,
    occurred_at timestamptz[] DEFAULT NULL, metadata jsonb[] DEFAULT NULL)
  RETURNS SETOF bank_order_result LANGUAGE plpgsql AS $$
DECLARE
  first integer := 1;
  last integer;
  at integer;
  receipts bank_receipt[];
  receipt bank_receipt;
  state text;
  said text;
  why text;
BEGIN
  WHILE first <= cardinality(from_accounts) LOOP
    last := first;
    WHILE COALESCE(linked[last], false) LOOP
      last := last + 1;
    END LOOP;
    receipts := '{}';
    BEGIN
      FOR i IN first .. last LOOP
        at := i;
        receipt := bank_transfer(from_accounts[i], to_accounts[i], amounts[i],
          idempotency_key => idempotency_keys[i], occurred_at => occurred_at[i], metadata => metadata[i]);
        receipts[i] := receipt;
      END LOOP;
      FOR i IN first .. last LOOP
        RETURN NEXT (i, true, NULL, NULL, NULL, receipts[i].event_id, receipts[i].replayed)::bank_order_result;
      END LOOP;
    EXCEPTION WHEN OTHERS THEN
      GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, said = MESSAGE_TEXT, why = PG_EXCEPTION_DETAIL;
      IF state NOT LIKE 'BK%' OR state = 'BK020' THEN
        RAISE;
      END IF;
      FOR i IN first .. last LOOP
        IF i = at THEN
          RETURN NEXT (i, false, state, said, why, NULL, false)::bank_order_result;
        ELSE
          RETURN NEXT (i, false, 'BK023', 'Linked order failed',
            format('Order %s failed: %s %s', at, state, said), NULL, false)::bank_order_result;
        END IF;
      END LOOP;
    END;
    first := last + 1;
  END LOOP;
END
$$;
SQL
my $accounts = <<'SQL';
SELECT count(bank_create_account(account(100), 'COURANT', currency, account_id => account(n),
                                 overdraft_limit => overdraft::bank_money, balance_limit => ceiling::bank_money))
FROM (SELECT n, 'HTG', NULL, NULL FROM generate_series(1, 8) AS n
      UNION ALL VALUES (9, 'HTG', '200 HTG', '1000 HTG'), (10, 'HTG', NULL, '600 HTG'), (11, 'HTG', NULL, NULL),
        (12, 'HTG', NULL, NULL), (13, 'USD', NULL, NULL), (14, 'USD', NULL, NULL), (15, 'JPY', NULL, NULL))
     AS a (n, currency, overdraft, ceiling);
SELECT bank_create_house_account('vault', 'HTG') \g /dev/null
SELECT count(bank_deposit(account(n), '500 HTG')) FROM generate_series(1, 11) AS n;
SELECT count(bank_deposit(account(n), '500 USD')) FROM generate_series(13, 14) AS n;
SELECT count(bank_deposit(account(15), '500 JPY', house_account => code)) FROM unnest('{cash,interest}'::text[]) AS code;
SELECT count(bank_deposit(account(1), '1 HTG', house_account => 'fees', idempotency_key => 'a deposit''s'));
SELECT event_type FROM bank_freeze(account(11));
SELECT event_type FROM bank_close(account(12));
SQL

sub one_of
{
	return $_[ int(rand(@_)) ];
}

# An SQL array of these expressions; undef is null.
sub sql_array
{
	my ($type, @values) = @_;
	return 'ARRAY[' . join(',', map { $_ // 'NULL' } @values) . "]::$type\[]";
}

# How often an order is spoiled on purpose: set for each batch.
my $spoil;

sub spoiled
{
	my ($probability) = @_;
	return rand() < $probability * $spoil;
}

# One side of an order.
sub random_account
{
	my $kind = rand();

	return undef if spoiled(0.005);
	return 'account(' . one_of(98, 99) . ')' if spoiled(0.015);
	return 'account(' . one_of(11, 11, 12) . ')' if spoiled(0.02);
	return 'account(' . one_of(13, 14, 15) . ')' if spoiled(0.03);
	return "house('cash','USD')" if spoiled(0.01);
	return one_of(
		"house('cash','HTG')", "stripe('cash','HTG')", "house('fees','HTG')", "house('vault','HTG')")
	  if $kind < 0.25;
	return 'account(' . one_of(1, 2) . ')' if $kind < 0.5;
	return 'account(' . one_of(1 .. 10) . ')';
}

sub random_amount
{
	my ($from) = @_;
	my $kind = rand();
	my $currency = spoiled(0.02) ? one_of('USD', 'EUR') : 'HTG';
	my $minor =
	    $kind < 0.75 ? 1 + int(rand(2000))
	  : $kind < 0.95 ? 1 + int(rand(30000))
	  :                1 + int(rand(60000));

	return undef if spoiled(0.005);
	return one_of("'0 HTG'", "'0 USD'") if spoiled(0.015);
	return "'92233720368547758.07 HTG'" if spoiled(0.01) && defined $from && $from =~ /^account/;
	return sprintf("'%d.%02d %s'", $minor / 100, $minor % 100, $currency);
}

my @keys;
my %request;
my $fresh_keys = 0;

# An order: from, to, amount, key, linked, occurred_at, metadata.
sub random_order
{
	my ($has_keys, $has_times) = @_;
	my %order = (from => random_account(), to => random_account());

	if (!spoiled(0.02))
	{
		$order{to} = random_account()
		  for grep { defined $order{from} && defined $order{to} && $order{from} eq $order{to} } 1 .. 5;
	}
	if (spoiled(0.02))
	{
		@order{ 'from', 'to' } = map { "account($_)" } one_of([ 13, 14 ], [ 14, 13 ])->@*;
		$order{amount} = "'" . (1 + int(rand(50))) . ".00 USD'";
	}
	else
	{
		$order{amount} = random_amount($order{from});
	}
	if ($has_times && rand() < 0.3)
	{
		$order{occurred} =
		  spoiled(0.05)
		  ? one_of("'1899-12-31 23:59:59+00'", "'3000-01-01'", "'infinity'", "'-infinity'")
		  : sprintf("'20%02d-%02d-01 12:00+00'", 10 + int(rand(14)), 1 + int(rand(12)));
	}
	if ($has_keys && rand() < 0.7)
	{
		if (@keys && rand() < 0.35)
		{
			# a key that was used before, usually for the same request
			$order{key} = $keys[-1 - int(rand(@keys < 150 ? @keys : 150))];
			@order{qw(from to amount occurred)} = @{ $request{ $order{key} } } if rand() < 0.7;
		}
		else
		{
			$order{key} = 'k' . ++$fresh_keys;
			push @keys, $order{key};
			$request{ $order{key} } = [ @order{qw(from to amount occurred)} ];
		}
		$order{key} = "'$order{key}'";
		$order{key} = one_of("''", "repeat('k', 256)", "'a deposit''s'") if spoiled(0.015);
	}
	if (rand() < 0.3)
	{
		$order{metadata} =
		  spoiled(0.05)
		  ? one_of("'[]'", "'null'", "'1'", "jsonb_build_object('text', repeat('x', 70000))")
		  : "'{\"n\":" . int(rand(100)) . "}'";
	}
	return \%order;
}

# The call of a batch, :post is the function that does it.
sub random_batch
{
	my $size = rand() < 0.5 ? 1 + int(rand(20)) : 1 + int(rand(200));
	my ($has_keys, $has_linked, $has_times, $has_metadata) = map { rand() < $_ } (0.6, 0.6, 0.4, 0.3);
	my $linked = one_of(0.2, 0.5, 0.9);

	$spoil = one_of(0, 0.3, 1, 1, 4);
	$spoil *= 0.2 if $has_linked && $linked > 0.8;
	my @orders = map { random_order($has_keys, $has_times) } 1 .. $size;
	my @arguments = (
		sql_array('uuid', map { $_->{from} } @orders),
		sql_array('uuid', map { $_->{to} } @orders),
		sql_array('bank_money', map { $_->{amount} } @orders));
	push @arguments, 'idempotency_keys => ' . sql_array('text', map { $_->{key} } @orders) if $has_keys;
	push @arguments,
	  'linked => '
	  . sql_array('boolean',
		(map { rand() < $linked ? 'true' : one_of('false', undef) } 2 .. $size), one_of('false', undef))
	  if $has_linked;
	push @arguments, 'occurred_at => ' . sql_array('timestamptz', map { $_->{occurred} } @orders)
	  if $has_times;
	push @arguments, 'metadata => ' . sql_array('jsonb', map { $_->{metadata} } @orders)
	  if $has_metadata;
	return 'SELECT told(r) FROM :post(' . join(', ', @arguments) . ') AS r;';
}

# What happens between batches, in both databases.
sub random_command
{
	my $n = one_of(3 .. 8, 11);
	my $key = @keys ? "'" . $keys[-1 - int(rand(@keys < 50 ? @keys : 50))] . "'" : "'first'";
	my $kind = rand();

	return "SELECT attempt('SELECT bank_freeze(account($n))');" if $kind < 0.15;
	return "SELECT attempt('SELECT bank_unfreeze(account($n))');" if $kind < 0.4;
	return "SELECT attempt('SELECT bank_deposit(account($n), ''100 HTG'')');" if $kind < 0.55;
	if ($kind < 0.7)
	{
		my $ceiling = 500 + int(rand(1000));
		return "SELECT attempt('SELECT bank_set_limits(account(9), balance_limit => ''$ceiling HTG'')');";
	}

	# a refusal that is stored, and asked for again by later batches; or one more use of a key
	if ($kind < 0.9)
	{
		$key = 'd' . ++$fresh_keys;
		push @keys, $key;
		$request{$key} = [ 'account(3)', 'account(4)', "'77777.00 HTG'", undef ];
		$key = "'$key'";
	}
	return "SELECT bank_execute(jsonb_build_object('command', 'transfer', 'from_account', account(3), "
	  . "'to_account', account(4), 'amount', '77777.00 HTG', 'idempotency_key', $key)) ->> 'code';";
}

my $script = '';
my @calls;
foreach my $batch (1 .. $batches)
{
	$calls[$batch] = random_batch();
	$script .= "\\echo = $batch\n$calls[$batch]\n";
	$script .= random_command() . "\n" if rand() < 0.5;
}
my $file = write_file('batches.sql', "\\set ON_ERROR_STOP 1\n$accounts$script");

# All databases at once, each in one session, so that house accounts have one stripe each.
my %function = (batch => 'bank_post_transfers', executor => 'bank_post_transfers', single => 'post_singly');
my %writer = (batch => 'direct', executor => 'executor', single => 'auto');
my %output;
my @runs;
foreach my $database (sort keys %function)
{
	create_ledger($node, $database);
	add_functions($node, $database);
	$node->safe_psql($database, $setup);
	$node->safe_psql($database, "ALTER DATABASE $database SET banking.writer = $writer{$database}");
	$output{$database} = '';
	push @runs,
	  IPC::Run::start(
		[ 'psql', '-XAtq', '-v', "post=$function{$database}", '-d', $node->connstr($database), '-f', $file ],
		'<', \undef, '>&', \$output{$database});
}
is(scalar(grep { $_->finish } @runs), 3, 'the scripts came to their end')
  or diag map { substr($output{$_}, -2000) } sort keys %output;

# An event has another identifier in each database; its place in the ledger is the same.
foreach my $database (keys %function)
{
	my %place = map { @$_ } query_rows($node, $database,
		"SELECT event_id, name_of(aggregate_id) || ' ' || version FROM bank.events");

	$output{$database} =~ s{\b([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?=\|[ft]$)}{$place{$1} // $1}gme;
}

# Outcomes, batch by batch
my %outcomes = map { $_ => [ split(/^= \d+\n/m, $output{$_}) ] } keys %output;
is(scalar(@{ $outcomes{batch} }), $batches + 1, "$batches batches");
foreach my $database ('batch', 'executor')
{
	my ($different) =
	  grep { ($outcomes{$database}->[$_] // '') ne ($outcomes{single}->[$_] // '') } 0 .. $batches;

	next if ok(!defined $different, "$database: equal outcomes");
	my @batch = split(/\n/, $outcomes{$database}->[$different] // '');
	my @single = split(/\n/, $outcomes{single}->[$different] // '');
	my @lines = grep { ($batch[$_] // '') ne ($single[$_] // '') } 0 .. (@batch > @single ? $#batch : $#single);

	diag "batch $different:";
	diag '  batch:  ', $batch[$_] // '', "\n  single: ", $single[$_] // '' foreach @lines[ 0 .. ($#lines > 9 ? 9 : $#lines) ];
	note $calls[$different] // $accounts;
}

# Every kind of outcome has come up, else this test tells nothing.
my %seen;
$seen{$_}++ foreach $output{batch} =~ /^\d+\|f\|(BK\d+)/mg;
$seen{new} = () = $output{batch} =~ /^\d+\|t\|.*\|f$/mg;
$seen{replayed} = () = $output{batch} =~ /^\d+\|t\|.*\|t$/mg;
note join(', ', map { "$_ $seen{$_}" } sort keys %seen);
my @kinds = qw(BK001 BK002 BK003 BK004 BK005 BK007 BK008 BK015 BK016 BK017 BK018 BK021 BK023 new replayed);
is(join(' ', grep { !$seen{$_} } @kinds), '', 'every kind of outcome came up')
  if $batches >= 200;

# Events and read models
my %state = (
	events => <<'SQL',
SELECT row_number() OVER (ORDER BY position), name_of(aggregate_id), version, name_of(peer_id), peer_version, event_type,
       currency, amount, balance, peer_balance, occurred_at, metadata, data - 'stripe'
FROM bank.events ORDER BY position
SQL
	accounts => <<'SQL',
SELECT name_of(account_id), version, debits, credits, held, status, currency, overdraft_limit, balance_limit,
       (SELECT count(*) FROM bank.events AS e WHERE e.position <= a.position)
FROM bank.accounts AS a ORDER BY 1
SQL
	'back-dated movements' => <<'SQL',
SELECT name_of(account_id), version, amount FROM bank.backdated_movements ORDER BY 1, 2
SQL
	keys => <<'SQL');
SELECT idempotency_key, name_of(aggregate_id), version, refusal,
       -- a stripe has another identifier in each database
       CASE WHEN name_of(aggregate_id) NOT LIKE '%HTG' AND name_of(peer_id) NOT LIKE '%HTG' THEN request_hash END
FROM bank.idempotency_keys LEFT JOIN bank.events USING (aggregate_id, version) ORDER BY idempotency_key COLLATE "C"
SQL
foreach my $what (sort keys %state)
{
	my %rows = map { $_ => [ split(/\n/, $node->safe_psql($_, $state{$what})) ] } keys %function;

	foreach my $database ('batch', 'executor')
	{
		my ($row) = grep { ($rows{$database}->[$_] // 'nothing') ne ($rows{single}->[$_] // 'nothing') }
		  0 .. (@{ $rows{$database} } > @{ $rows{single} } ? $#{ $rows{$database} } : $#{ $rows{single} });

		ok(!defined $row, "$database: equal $what: " . @{ $rows{$database} })
		  or diag '  batch:  ', $rows{$database}->[$row] // 'nothing', "\n  single: ",
		  $rows{single}->[$row] // 'nothing';
	}
}
ledger_ok($node, $_, $_) foreach sort keys %function;
storage_ok($node, $_, $_) foreach sort keys %function;

$node->stop;
done_testing();
