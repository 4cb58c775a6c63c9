"""Words that the built-in tokenizer knows as one token each.

A word's place in the list is its token, so trained models depend on it: append, never insert, remove or reorder.
"""

_GROUPS = """
. , : ; ! ? ' " ( ) - / + = % & # 0 1 2 3 4 5 6 7 8 9
the a an and or then to of on in into onto at from with without by for off out over under up down it its them this
that is are be no not all both each other same first second third last next before after while until again
red green blue yellow orange purple pink brown black white grey gray cyan magenta teal violet silver gold beige
light dark clear transparent wooden metal plastic paper cardboard glass soft hard
put place set move push pull slide drag lift raise lower pick grab grasp grip take get bring carry hold release drop
let go leave return stack unstack sort pile line align arrange organize insert remove plug unplug press click turn
rotate twist flip tilt pour scoop stir wipe clean sweep wash dry fold unfold roll unroll spread open close shut lock
unlock hang hook hand pass give receive swap exchange switch reach touch tap point throw toss catch assemble attach
detach screw unscrew cut peel zip unzip tie untie pack unpack load unload fill empty cover uncover bus bag scan
find look wait stop start reset home stay help do make use keep
block blocks cube cubes plate plates bowl bowls cup cups mug mugs glasses bottle bottles can cans box boxes bin bins
basket tray trays drawer drawers door doors cabinet shelf shelves table counter desk stove oven microwave fridge
sink faucet tap towel cloth rag sponge napkin napkins shirt shirts pants shorts sock socks laundry dryer washer
clothes hamper hanger trash garbage rubbish bag bags container lid cap pot pan spoon fork knife spatula ladle
chopstick chopsticks tongs brush pen pencil marker eraser book books paper sheet card cards ball balls ring rings
peg pegs hole nut bolt screw gear cable wire usb charger phone cube cylinder sphere triangle square circle rectangle
toy toys bear duck car tape scissors hammer wrench screwdriver button buttons lever knob handle switch light lamp
apple banana orange lemon lime pear peach grape grapes strawberry carrot potato tomato onion pepper corn broccoli
cucumber eggplant mushroom bread toast toaster egg eggs milk juice water coke pepsi coffee tea sugar salt rice
noodle noodles meat chicken fish cheese butter sauce soup salad chips snack candy chocolate cereal
object objects item items thing things pieces piece part parts food dish dishes cutlery utensil utensils silverware
tool tools stuff tupperware carton cartons tissue wrapper wrappers label rope string stick bean beans
left right front back behind ahead top bottom middle center centre side corner edge end above below beneath beside
between near next far close inside outside upper forward backward forwards backwards sideways upright upside here
there away around along across through toward towards against together apart away
arm arms gripper grippers hand hands finger fingers wrist base robot camera torso wheel wheels single dual bimanual
one two three four five six seven eight nine ten half few some more less every any only another
big small large little tiny long short tall wide narrow round flat full new old hot cold warm wet dirty heavy
slowly quickly carefully gently slightly fully completely halfway straight open closed stacked folded empty
ur5e franka panda droid trossen aloha viperx arx agilex fibocom widowx google unitree dobot kuka xarm so100 so101
mobile hz rate embodiment control action mode joint joints velocity position delta absolute cartesian task
eef g1 gr1 cr5 oxe bridge pose twist stand 5 10 15 20 25 30 50 100
"""
"""Groups may share a word; the first place counts."""

WORDS = tuple(dict.fromkeys(_GROUPS.split()))
