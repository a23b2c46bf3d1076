#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
# Common HTTP clients of Perl, unmodified, driven line by line as tests/lib/matrix.py says.
#
# usage: perl client.pl NAME    (NAME as in %clients; --list prints them)
use strict;
use warnings;

use JSON::PP;

my $host = 'api.openai.com';
my $path = '/v1/chat/completions';
my $url  = "https://$host$path";
my $json = JSON::PP->new->canonical->utf8;
my $ca   = $ENV{SSL_CERT_FILE};

my %asked = (
    model      => 'gpt-4o-mini',
    max_tokens => 100,
    messages   => [{ role => 'user', content => 'What is a margin?' }],
);
my $body   = $json->encode(\%asked);
my $stream = $json->encode(
    { %asked, stream => JSON::PP::true, stream_options => { include_usage => JSON::PP::true } });
my %headers = (
    'Content-Type' => 'application/json',
    'X-Replay'     => $ENV{REPLAY} // '',
    Authorization  => 'Bearer sk-test-perl-1234',
);

# A status that is an error, for clients that die of none.
sub checked {
    my ($status, $text) = @_;
    die { error => 'status', status => $status + 0, message => $text } if $status >= 400;
    return $text;
}

# LWP and HTTP::Tiny hand the pieces of an error to nobody, but keep them as the answer's content.
sub lwp {
    my ($asked, $piecewise) = @_;
    require LWP::UserAgent;
    my $agent = LWP::UserAgent->new(keep_alive => 1, ssl_opts => { SSL_ca_file => $ca });
    return sub {
        my $text   = '';
        my $answer = $agent->post($url, %headers, Content => $asked,
            $piecewise ? (':content_cb' => sub { $text .= $_[0] }) : ());
        return checked($answer->code, $text ne '' ? $text : $answer->decoded_content);
    };
}

sub http_tiny {
    my ($asked, $piecewise) = @_;
    require HTTP::Tiny;
    my $agent = HTTP::Tiny->new(verify_SSL => 1, SSL_options => { SSL_ca_file => $ca });
    return sub {
        my $text   = '';
        my $answer = $agent->post($url,
            { headers => \%headers, content => $asked,
              $piecewise ? (data_callback => sub { $text .= $_[0] }) : () });
        return checked($answer->{status}, $text ne '' ? $text : $answer->{content});
    };
}

sub mojo {
    my ($asked, $blocks) = @_;
    require Mojo::UserAgent;
    require Mojo::IOLoop;
    my $agent = Mojo::UserAgent->new(ca => $ca);
    return sub {
        my $answer;
        if ($blocks) {
            $answer = $agent->post($url => {%headers} => $asked)->result;
        } else {
            my $failed;
            $agent->post_p($url => {%headers} => $asked)
                ->then(sub { $answer = $_[0]->result })->catch(sub { $failed = $_[0] })->wait;
            die $failed if defined $failed;
        }
        return checked($answer->code, $answer->body);
    };
}

# As a program of one's own: a socket, a request, and what comes until its chunks or length end.
sub socket_client {
    require IO::Socket::SSL;
    my $socket;
    return sub {
        $socket //= IO::Socket::SSL->new(PeerHost => $host, PeerPort => 443, SSL_ca_file => $ca)
            or die 'IO::Socket::SSL: ' . IO::Socket::SSL::errstr();
        my $request = "POST $path HTTP/1.1\r\nHost: $host\r\nContent-Length: " . length($body)
            . "\r\n" . join('', map {"$_: $headers{$_}\r\n"} sort keys %headers) . "\r\n$body";
        print {$socket} $request;
        my $status = (split / /, scalar <$socket>)[1];
        my $length = 0;
        while (defined(my $line = <$socket>)) {
            last if $line !~ /\S/;
            $length = $1 if $line =~ /^content-length:\s*(\d+)/i;
        }
        my $text = '';
        while (length $text < $length) {
            read($socket, $text, $length - length $text, length $text) or die 'it ended';
        }
        return checked($status, $text);
    };
}

my %clients = (
    'lwp'              => sub { lwp($body) },
    'lwp-stream'       => sub { lwp($stream, 1) },
    'http-tiny'        => sub { http_tiny($body) },
    'http-tiny-stream' => sub { http_tiny($stream, 1) },
    'mojo'             => sub { mojo($body, 1) },
    'mojo-async'       => sub { mojo($body, 0) },
    'mojo-stream'      => sub { mojo($stream, 0) },
    'io-socket-ssl'    => sub { socket_client() },
);

if ($ARGV[0] eq '--list') {
    print "$_\n" for sort keys %clients;
    exit;
}
$| = 1;
my $call = $clients{ $ARGV[0] }->();
while (<STDIN>) {
    my $text = eval { $call->() };
    my $died = $@;
    my $result =
          defined $text ? { ok => $text }
        : ref $died     ? $died
        :                 { error => 'die', status => undef, message => "$died" };
    print $json->encode($result), "\n";
}
