#!/bin/sh
# Makes the short speech files of the demo (8 kHz, 16 bit, mono) anew. They are committed: only someone who changes
# a sentence needs espeak-ng and sox.
set -eu
cd "$(dirname "$0")/../paycall/demo/speech"
raw=$(mktemp -d)
trap 'rm -rf "$raw"' EXIT

say() { # voice pitch name sentence
  espeak-ng -v "$1" -p "$2" -s 165 -w "$raw/$3.wav" "$4"
  # The telephone band, and a level that leaves G.711 room: about -20 dBm0 on average.
  sox -D "$raw/$3.wav" -r 8000 -b 16 -c 1 "$3.wav" sinc 250-3500 norm -6 silence 1 0.01 0.1% reverse silence 1 0.01 0.1% reverse
}

caller() { say en-us+f3 55 "caller-$1" "$2"; }
operator() { say en-gb 40 "operator-$1" "$2"; }

caller hello "Hello. I would like to pay my bill by card."
caller ready "Yes, I have my card here. I will key it now."
caller moment "Just a moment, please."
caller done "There you are. Did that work?"
caller other "Oh. Then I will take my other card."
caller thanks "Wonderful. Thank you, and goodbye."

operator greeting "Good morning, this is Anna. How can I help you?"
operator key "Please key your card on your telephone. I cannot hear it."
operator checking "Thank you. One moment, I am asking the bank."
operator declined "There is not enough money on this card. Have you got another?"
operator approved "Your payment was approved. Thank you."
operator goodbye "Have a nice day. Goodbye."
