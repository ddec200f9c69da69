# Fifteen months of a real bank: loads examples/pkdd99, compares everything with what the bank
# printed, loads again without effect, takes the read models away and rebuilds them. Balances of
# the past and statements are compared with sums made here from the files.
#
# BANKING_PKDD99_DIR names the directory of the two files; without it the test skips.

use strict;
use warnings;

use Cwd qw(abs_path);
use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

use constant MAX_SECONDS => 60;

my $data = $ENV{BANKING_PKDD99_DIR};

plan skip_all => 'BANKING_PKDD99_DIR is not set: the PKDD\'99 files are not part of the project'
  if !defined $data;
plan skip_all => "BANKING_PKDD99_DIR: there is no $data/movements.csv"
  if !-r "$data/movements.csv" || !-r "$data/accounts_expected.csv";
$data = abs_path($data);

my $example = abs_path("$FindBin::RealBin/../../examples/pkdd99");
my @fields = qw(movement_id account booked_on direction amount bank_balance_after operation symbol
  partner_bank partner_account);

# The account's identifier in the ledger, by the pattern of the example's README.
sub account_id { return sprintf '706b6464-3939-8000-8000-%012d', $_[0]; }

# Crowns to hellers and back; Perl's integers are exact.
sub hellers
{
	my ($sign, $crowns, $rest) = $_[0] =~ /^(-?)(\d+)\.(\d\d)$/ or die "not an amount: $_[0]";
	return ($crowns * 100 + $rest) * ($sign ? -1 : 1);
}
sub crowns { return sprintf '%s%d.%02d', $_[0] < 0 ? '-' : '', int(abs($_[0]) / 100), abs($_[0]) % 100; }

# The movements by account, in booking order: [day, signed hellers]
my %movements;
open my $csv, '<', "$data/movements.csv" or die "movements.csv: $!";
my $header = <$csv>;
chomp $header;
is($header, join(',', @fields), 'movements.csv has the fields its README names');
while (my $line = <$csv>)
{
	chomp $line;
	my %m;
	@m{@fields} = split /,/, $line, -1;
	push @{ $movements{ $m{account} } },
	  [ $m{booked_on}, ($m{direction} eq 'credit' ? 1 : -1) * hellers($m{amount}) ];
}
close $csv;
my @accounts = sort { $a <=> $b } keys %movements;

my $node = PostgreSQL::Test::Cluster->new('pkdd99');
$node->init;
$node->append_conf('postgresql.conf', 'shared_buffers = 256MB');
$node->start;
for my $database (qw(bank resumed))
{
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, 'CREATE EXTENSION banking');
}

sub query { return $node->safe_psql('bank', $_[0]); }

# Run a script of the example on a database: its exit status, what it printed, what it reported.
sub example
{
	my ($script, $database, $directory, @psql) = @_;
	my ($out, $err) = ('', '');
	my $done = IPC::Run::run(
		[ "$example/$script", $directory, '-h', $node->host, '-p', $node->port, '-d', $database, @psql ],
		'<', \undef, '>', \$out, '2>', \$err);

	return ($done ? 0 : 1, $out, $err);
}

# Everything the ledger keeps, in one digest per table.
sub digest
{
	return query(
		q{
SELECT 'events', count(*), md5(string_agg(e::text, E'\n' ORDER BY position)) FROM bank.events AS e
UNION ALL
SELECT 'accounts', count(*), md5(string_agg(a::text, E'\n' ORDER BY account_id)) FROM bank.accounts AS a
UNION ALL
SELECT 'backdated', count(*), md5(string_agg(b::text, E'\n' ORDER BY account_id, version)) FROM bank.backdated_movements AS b
UNION ALL
SELECT 'keys', count(*), md5(string_agg(k::text, E'\n' ORDER BY idempotency_key)) FROM bank.idempotency_keys AS k
UNION ALL
SELECT 'positions', last_value, is_called::text FROM bank.events_position_seq
UNION ALL
SELECT 'serials', last_value, is_called::text FROM bank.account_serial_seq
ORDER BY 1});
}

# Compare by ./compare; the figures are also written here, so that a broken file or script shows.
sub compare
{
	my ($when) = @_;
	my ($status, $out, $err) = example('compare', 'bank', $data, '-A', '-t');
	my %row = map { my @column = split /\|/; ($column[0] => \@column) } split /\n/, $out;

	is($status, 0, "$when: compare says that ledger and files agree") or diag($err);
	for my $expected (
		[ 'accounts with the file\'s final balance', '1229' ],
		[ 'accounts with the file\'s lowest balance', '1229' ],
		[ 'movements in order: day, amount, metadata', '49102' ],
		[ 'accounts on which the bank agrees at every step', '342' ],
		[ 'their steps: bank_transactions', '5972' ],
		[ 'their steps: bank_account_events', '5972' ],
		[ 'sum of the accounts\' balances, CZK', '39246142.80' ],
		[ 'trial balance, CZK', '0.00' ],
		[ 'bank_verify: failures', '0' ])
	{
		my ($check, $figure) = @$expected;

		is_deeply($row{$check}, [ $check, $figure, $figure, 'ok' ], "$when: $check: $figure");
	}
	is(scalar(keys %row), 9, "$when: no other check");
	is(query('SELECT count(*) > 0, bool_and(ok), sum(failures) FROM bank_verify()'),
		't|t|0', "$when: bank_verify is clean");
	return;
}

# The load
my $started = time;
my ($status, undef, $err) = example('load', 'bank', $data);
my $seconds = time - $started;

is($status, 0, 'the movements are loaded') or diag($err);
like($err, qr/1229 accounts, 49102 movements, 0 of them there already/, 'each of them anew');
diag(sprintf 'PKDD\'99: %d movements loaded in %.1f s, %.0f per second',
	49102, $seconds, 49102 / $seconds);
cmp_ok($seconds, '<=', MAX_SECONDS, sprintf 'in at most %d s', MAX_SECONDS);
is( query(
		q{
SELECT count(DISTINCT transaction_id) = count(DISTINCT occurred_at) AND bool_and(occurred_at IS NOT NULL)
FROM bank.events WHERE event_type <> 'account.created' OR data ->> 'account_type' <> 'HOUSE'}),
	't',
	'a transaction for each day');
is(query('SELECT count(*) FROM bank.backdated_movements'), '0', 'in booking order nothing is back-dated');
is( query(
		q{
SELECT string_agg(house_account || ' ' || version, ', ' ORDER BY house_account), sum(balance)
FROM bank_accounts WHERE account_type = 'HOUSE'}),
	'cash 24004, external 10128, fees 5446, interest 9528|-39246142.80',
	'the house accounts took the other side');
compare('after the load');

# Once more: no effect
my $before = digest();

($status, undef, $err) = example('load', 'bank', $data);
is($status, 0, 'the load runs again') or diag($err);
like($err, qr/1229 accounts, 49102 movements, 49102 of them there already/, 'and finds all there');
is(digest(), $before, 'it had no effect, not on a sequence either');

# Balances of the past against sums of the files
srand(1993);
my @points;
for (1 .. 2000)
{
	my $account = $accounts[ rand @accounts ];
	my $day = sprintf '%s-%02d', (map({ sprintf '1993-%02d', $_ } 1 .. 12), '1994-01', '1994-02', '1994-03')[ rand 15 ],
	  1 + int rand 28;
	my $sum = 0;
	my $count = 0;

	for my $movement (@{ $movements{$account} })
	{
		next if $movement->[0] gt $day;
		$sum += $movement->[1];
		$count++;
	}
	push @points, [ $account, $day, crowns($sum), $count ];
}
my $values = join ",\n",
  map { sprintf "(%d, '%s'::uuid, '%s 23:59:59.999999+00'::timestamptz)", $_, account_id($points[$_][0]), $points[$_][1] }
  0 .. $#points;
my @found = split /\n/, query(
	qq{
SELECT b.balance, b.held, count(t.version)
FROM (VALUES $values) AS point (number, account_id, at)
CROSS JOIN LATERAL bank_balance_at(point.account_id, point.at) AS b
LEFT JOIN LATERAL bank_transactions(point.account_id, NULL, (point.at AT TIME ZONE 'UTC')::date, 1, 1000) AS t ON true
GROUP BY point.number, b.balance, b.held ORDER BY point.number});
my @wrong = grep { $found[$_] ne "$points[$_][2]|0.00|$points[$_][3]" } 0 .. $#points;

is(scalar(@found), 2000, 'bank_balance_at: 2000 points');
ok((grep { $_->[3] == 0 } @points) > 0, 'bank_balance_at: some before the first movement');
is(scalar(@wrong), 0, 'bank_balance_at, bank_transactions: balance and number of movements up to a day')
  or diag("account $points[$wrong[0]][0], $points[$wrong[0]][1]: $found[$wrong[0]] instead of $points[$wrong[0]][2]");
is( query("SELECT count(*) FROM (VALUES $values) AS point (number, account_id, at)
		   WHERE (bank_balance_at(account_id, at, as_recorded => true)).balance <> 0"),
	'0',
	'bank_balance_at as recorded: nothing, as all of it was recorded today');

# Statements of a month
my @statements;
for my $number (0 .. 49)
{
	my $account = $accounts[ rand @accounts ];
	my $month = (map({ sprintf '1993-%02d', $_ } 7 .. 12), '1994-01', '1994-02', '1994-03')[ rand 9 ];
	my ($balance, $debits, $credits, $line) = (0, 0, 0, 0);
	my @lines;

	for my $movement (@{ $movements{$account} })
	{
		my $in = substr($movement->[0], 0, 7);
		my $amount = $movement->[1];

		last if $in gt $month;
		if ($in lt $month)
		{
			$balance += $amount;
			next;
		}
		push @lines, "0|opening|||" . crowns($balance) if !@lines;
		$balance += $amount;
		$debits -= $amount if $amount < 0;
		$credits += $amount if $amount > 0;
		push @lines, join '|', ++$line, 'movement',
		  $amount < 0 ? crowns(-$amount) : '', $amount > 0 ? crowns($amount) : '', crowns($balance);
	}
	push @lines, "0|opening|||" . crowns($balance) if !@lines;
	push @lines, join '|', ++$line, 'closing', crowns($debits), crowns($credits), crowns($balance);
	push @statements,
	  [ sprintf("(%d, '%s'::uuid, '%s-01'::date)", $number, account_id($account), $month),
		map { "$number|$_" } @lines ];
}
my $periods = join ",\n", map { $_->[0] } @statements;
my $expected = join "\n", map { @$_[ 1 .. $#$_ ] } @statements;

# Noon UTC is the same day in all of these.
for my $zone ('UTC', 'Europe/Prague', 'America/Port-au-Prince', 'Pacific/Honolulu', 'Asia/Tokyo')
{
	is( query(
			qq{
SET TimeZone = '$zone';
SELECT period.number, s.line, s.entry, s.debit, s.credit, s.balance
FROM (VALUES $periods) AS period (number, account_id, first_day)
CROSS JOIN LATERAL bank_statement(account_id, first_day, (first_day + interval '1 month - 1 day')::date) AS s
ORDER BY period.number, s.line}),
		$expected,
		"bank_statement: fifty months, days of $zone");
}
is( query(
		q{
WITH day AS (SELECT * FROM generate_series(date '1993-01-01', '1994-03-01', interval '1 month') AS first_day)
SELECT bool_and(s.balance = (bank_balance_at(a.account_id, (first_day + interval '1 month')::timestamptz - interval '1 microsecond')).balance), count(*)
FROM bank_accounts AS a, day,
     LATERAL bank_statement(a.account_id, first_day::date, (first_day + interval '1 month - 1 day')::date) AS s
WHERE a.account_type = 'HOUSE' AND s.entry = 'closing'}),
	't|60',
	'house accounts: the closing balances of fifteen months are those of bank_balance_at');

# The read models again, from the events alone
is(query('SELECT repaired FROM bank_rebuild()'), '0', 'bank_rebuild: nothing to repair');
is(digest(), $before, 'and nothing changed');
query('TRUNCATE bank.accounts, bank.backdated_movements');
isnt(query('SELECT sum(failures) FROM bank_verify()'), '0', 'bank_verify misses read models that are gone');
is(query('SELECT events, accounts = repaired FROM bank_rebuild()'), '50335|t', 'bank_rebuild makes all of them again');
is(digest(), $before, 'equal to the last bit');
compare('after bank_rebuild');

# An interrupted load goes on, also in the middle of a day
my $part = PostgreSQL::Test::Utils::tempdir;
my @lines = split /(?<=\n)/, PostgreSQL::Test::Utils::slurp_file("$data/movements.csv");

for my $load ([ 1000, 1000, 0 ], [ 3000, 3000, 1000 ])
{
	my ($take, $movements, $there) = @$load;

	unlink "$part/movements.csv";
	PostgreSQL::Test::Utils::append_to_file("$part/movements.csv", join '', @lines[ 0 .. $take ]);
	($status, undef, $err) = example('load', 'resumed', $part);
	is($status, 0, "the first $take movements are loaded") or diag($err);
	like($err, qr/ $movements movements, $there of them there already/, "$there of them were there");
}
is( $node->safe_psql('resumed', q{
SELECT count(*), (SELECT bool_and(ok) FROM bank_verify()) FROM bank_events WHERE event_type LIKE 'money.%'}),
	'3000|t', 'they are there once');

# Wrong use
($status, undef, $err) = example('load', 'resumed', "$part/nowhere");
isnt($status, 0, 'a directory that is not there is refused');
like($err, qr/usage: .*DIRECTORY must hold movements\.csv/s, 'with the usage');
($status, undef, $err) = example('compare', 'resumed', $data);
isnt($status, 0, 'compare fails on a ledger that is not that of the files');
like($err, qr/ERROR:  the ledger does not agree with the files/, 'and says so');

$node->stop;
done_testing();
