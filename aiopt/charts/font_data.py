"""Glyph bitmaps of the charts.  Written by `font_build.py`; do not edit.  Owns data only.

Drawn from DejaVu Sans under its licence, `FONT-LICENSE.txt`.  Per face: height in pixels, widths of
the characters, and all glyphs side by side as ink levels 0 to 5, row by row, compressed by zlib, in base 85.
"""

# fmt: off
CHARACTERS = (
    ' !"#$%&\'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~·–−×±°…'
)

REGULAR_HEIGHT = 14
REGULAR_WIDTHS = (
    4, 5, 6, 11, 8, 12, 10, 4, 5, 5, 7, 11, 4, 5, 4, 5, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 4, 4, 11, 11, 11, 7,
    13, 9, 9, 9, 10, 8, 7, 10, 10, 4, 5, 9, 8, 11, 10, 10, 8, 10, 9, 8, 9, 10, 9, 13, 9, 9, 9, 5, 5, 5, 11,
    8, 7, 8, 8, 7, 8, 8, 5, 8, 8, 4, 5, 8, 4, 13, 8, 8, 8, 8, 6, 7, 5, 8, 8, 11, 8, 8, 7, 8, 4, 8, 11, 4, 7,
    11, 11, 11, 7, 13,
)
REGULAR_SHEET = (
    "c-rk+iMHD)3`N`j|MH*}uyNv-rPI#Tr%n7Y2ubK_b6R`n0&b15{k{G>*X}rFx+mf5xjFFvunD9_cwei)f352`w)?Vc7TF&+{{$$@"
    ">;)J4@oxi#g`7nchHq>jpu&X`I!a;}FnMEB2M=^!pfF+@w5LEj_cMtA>Wowl{gNQXWJ@Jzc0qlb2*!l|x7g(moD-*WANd?=17ax+"
    "qV1vf<7^locG@-q@l1ENZ;l!I#24tN-HjX0XS&#AP+3hZw;o{M#CL(y2qq&Xcqia?*XfbdX0oF~Bdh#Tm@oxjAgMH^lcy;W67b|0"
    "?*oPC(cI4f<>l3`5I19@H#h(md=8YZ*ED1`U=UChhdMg}hmT6*%=AwrpoGd6C`O?ZW*$e@{{%hajzI8nbf8eK!NMP@74!upW{ton"
    "HNYVX5|vBocVvcTMvk1;#%b-kQ~yw5)k~1sDo!>}!H~{Cx&(?zQH$)a4$XAyoSR_MR%v1+DA-Xen-QnO@)IboI6Dzll=E%__TOig"
    "(>IoeLVa=HT=4bO>-Po<w;ux~oYgAnh!vMWNnd2H5&LCC^svXwlEx*nP{(Dua*@u3p}_EMQzS<*c3}p}3<kkkZ*%m+_YIUV6C8lk"
    "-80PlK*~<;+Fh14B#eEDPe2(AZGi$~G=Qj4K_%<A!M{Jmi~@q2k)h)gQ2b6=vw0Ro+y#KoN&Tb*cHUtIrgbb#owAmQYZUR9ERRu;"
    "+u``IMm@4nA9C5;CG{dsQS~7Pm7*%^-xDQ_&`)N5#<=(acZN+=<K5j_-z6VGW*iGpknTqzDA#cxD7FK}@c<?(Rkd&un1CYBfx>zI"
    "k&hf46xes4lo^)WOr}gNj>;m#87P?Ppl5B8nVDf_#AJ(LqEy&*fiy*wVLg$ErRgps4}ik5!m0Zi3$<njW(;GK1c=~aq$0`%P)uI&"
    "V6ITlXH|-HkAZmy=`ekdj6H3S6a^G|nyB3Bax@hHODW$O%0V>-locpUd2cpPZiO|I!Lo<kr6}d00wp;IidzJGhRJ?riW_O;(IJW?"
    "T;MKJJY$=U=V9tqXOn2^ISOTs()lw(ATp{kzkp(?7at9E4c;&%>ar%4o|3B$g0MMfG3CN!m_E-^uSpPkP_g*4*gCQo1B!WB&N_tJ"
    "9w=TS__y0MjscMcD3VGU=<3x4I8f~007@7X$ug3TQA?>X_ajgs49u0DuB8gDD3gY2+gx7CjW$jiIt*~R7Z1P@jX~#2^;AG1#@UP7"
    "Orn|@PHx&|rUbKDB~Ws;is}+ubb}x)mDK3bz?7w!y{fO&)D{a;XMZ{uZO>FRfFe}}wmD9)az%D5{RA?l8>!c}m`BM*i#x(oM8Vou"
    "BLz>4m@lC*Ka(U2lwD4op*<o>J7-^m!`Q-0FqCK+SVU3Bb~mEbIUiFmnn7*fWC76qrobVhcrky7D0Q0Y<qkm60S@e&f5oU;s1h!!"
    "0<VCA{2VCAk#J+Q1KJ9d(AN{7L}0rHN}E^EO3CaE4nVQZjS6Z6bulFcO7UkO6%oaKFnX`ZO$?)`*hiE*Kv~P~Ds3PgmPZ-QBaHou"
    "?zAbJc6$-FO^q@!Xwh`en$j92lkyp8k&Dfca23zdbE#3<98rj-8qPaLa=%8o1WKb(^hACV^|wKQHZ{sP+(q624w}lI%$fp^x&%f?"
    "A|XaJ<0O&;c@C6J?5-lplnXup3I;zfMU+wm&Rx|`(>;S4A%?iou|%dhlU!;Pex*ifw<F3ZQ5pfD8)S4Il~Ygjv9+apwE;>o8VTmP"
    ">qW89noTkov7Qh6eBVFR5)lQ#v+1drf86y7Bgz_OdifIuYunxIdU@k*-}Q<L<FF{}AT!0K$5lkD52gZH(_x7yX#GE)nrZpsPlh8|"
    "lQo)~I){XJ?;k_!RXv<*6rf{`at6xaWd{^bn|C#ex5cA8q83G%j6ADpmgAW;Mxh$X77UcV-Ss;7cMcSe0vu-NA0`L&(jod26wQyS"
    "K({X(<<LjWtg1R57@2>(B(R{LR_%gIx>?^p!biSvfXLv-i-TvE+Zgb%n`DWMMId<a9tDR{KYNdYkyFVC8Rb7o*7qnhdiHMa5jSwm"
    "DLy9^VZ~G@3Wo}vhKh}Ks20$Z)JsL<Q`ZaTu2;ShsIJ!rC<duZpd7ni3nlA%#Q~3vA=5djK0YKGgiBa>5h(4Va@hmr%FR5BNDqF("
    "GRK*>Uj97y2lw0T8jSGsza)73MYMcbL6zcs?mAKXkrI~4uk&?CnP7qoe@&&Y0OcFz{7re(kA42<6&KysUrOQ0PgwjF$ft<f+ckR7"
    "IsHXIIr%*L_D@*;UT<6^^apYc7mfUzA|G)AKcn;!pvWGZ_>~_Y{sZhaCYb"
)

BOLD_HEIGHT = 18
BOLD_WIDTHS = (
    6, 8, 9, 14, 12, 17, 15, 5, 8, 8, 9, 14, 6, 7, 6, 7, 12, 12, 12, 12, 12, 12, 12, 12, 12, 12, 7, 7, 14,
    14, 14, 10, 17, 14, 13, 12, 14, 12, 12, 14, 14, 6, 7, 14, 11, 17, 14, 14, 12, 14, 13, 12, 12, 14, 14,
    19, 13, 14, 12, 8, 7, 8, 14, 9, 9, 11, 12, 10, 12, 12, 8, 12, 12, 6, 7, 12, 6, 18, 12, 12, 12, 12, 9,
    10, 8, 12, 11, 16, 11, 11, 10, 12, 6, 12, 14, 6, 9, 14, 14, 14, 9, 17,
)
BOLD_SHEET = (
    "c-rlpiIU?g3`MPl|NrF|gO)3d6K9h2^qY#Srjr;OFh~b2c((0(e2;(mkS5<j_*V{nZZ5es^1t8Xd%P7Zw<D!d_n&<4a$3}IdIPnl"
    "^C>9}&NbNg@v$iQpB%Ig<QPyJR;9PMAP**%J38dnIypzU|EmzX)ns2sXZw}=xwuP4A%5(0d-;h*y}XYCn-FM7Mn7$%!<yHaaMBQ?"
    "ekj~bF0C%H<Mils|1K|$c(#(ixTuW;oO|Cmhi?BxR-jhE-dC#M;|>|qH6BuW_4aFg*bi!0<TYz(FOL&enPlgC{n1<5&Ps5G_RCrx"
    "63zC$tE*%`Ypsz9{{BHQfBkath6t)<hmeaOLWtW!%#Rd$5<=R39fYX8-N5TlSs>KfoBPc7O_>#h_Q|se1eLuN56(#PX^00x$W0*W"
    "pCmhk=o(q63xT>IZzkB9t6*vkl#HJT2vI69LdZ`yxP)JwL9e3FZko^_O6gt4J+kH$LZr3iK7@=xGla4UgHTHa=48m!+w~8@$Dlh9"
    "Vwgj5`q;uj2+n~Yvhf=q6NIR+C6t{mPUDjhT4>|H2O)|@6zEQGfm@g-<KI&d+9zWSKd3DGS;|r9f<%fCQkyq&^|-m_@l1O6;n*}o"
    "iEJ2@L4bK!$NPml6y5ykgBTEE6rh`#L1E|Eaw~g<G#2Onm+o?(gpal*o)RWQ!Cv2P+4OFLZlD=p%X=?S8r2&$wBlu}1j##CFF?qR"
    "oCAaeEC_&+>Hcl7iUl=zuqu&2iFlv3ZL)b>KsKMLSQ2bukN{xEkJwGz>z4W9ePIIu^nu<*;F97$2cZR)&TIHTLrAs)A^wx@yQPr^"
    "M?y%Sg^=djGfHoE(5R)`+=L`4`a2*LPn2qsqjn!cnj#w3b;tpO7y|+OZM=ZcK@N-*xNME?t1r9?-A-SF7n3%*aG^<(mqaJx0mc_V"
    ";e;ARqu>A`DGKobLfmE=gb71QMvmoWuSCH{3+tt~x-3DUpjo(rkQA%T$6kypY*lki?v5nJsn)2+q+pt4wNaq6D5d+4`we?ofvYFo"
    "PnoEtM=fbSXF1leu!P2=<{4J|t+Z~Qx5N3`*sTWkYss}!tqC%CyH`!#{Fob8pM9F(stvq>w?Rle^q~iBf8HINA>_BaCB&_SJhVb6"
    "`yaORWeB-&BYURB2qaTN4`owy$CO==OTZ_6kzolDKuA^)il9x}gEm%Ckbyn61$q}cZGG6SGS{56gu>ORKp`i>5<=D8xDTNkD**_J"
    "c9}J+p_{40cM@no%|{FfEla`@f`K@L5Ea_9Ic1&HEk`FiO_P`GMz4gcPepjOx%SdIgj_vkcFg?(3FEJY;nl(v^zx{IRuIx@rIQg@"
    "b5|B`#@GRNi;s<Q#wb=00@4iebqil@uqA){RRAHr3Za!@SXLmV@n@wmj{?)Qi028&hPnvuF`+$hBN|}$iQ{eVzu2;Q*&Sn-3<z6J"
    "56&1`_3))`6+)pT7}VX+B54`0W;gXG2+;_F(zYFkwEG_rn{6(69%OC?RJQtMjyMx8^E?|GhwzKW9b`Wl128KH@wS8zcircN(0;<H"
    "0CotvW6KgLF(G$QPastN-u}rQZj{q2t<rb;#VD)ck3He`kT0q>#-0TtvF9RfDN3Q@8qaOzqXsm1074#9k253AKK@d@IVzPyw@PES"
    "n(bb%NZKvp@*v*l?0z$koP%$&m8-T~dwmH-2xXLr%mC|Ai3bqc0c2n}YRr|4`oSV`i&r2B*|TH18+J@iS+VD(1JnAq3{0=Og^;lI"
    "?Jk6hI>d68UO^84aRf9qqcvbd$uYov#PreST4u!<HBWV{$=pRrBR*zPGHmSg5K>w~XzTH_Eg`gfGA9u7woghV)4SDFT0n?x?UtAd"
    "?aRC1DvUF&FhCrQg>V76uE@Bk<3IJ0GZsh@pH~o53E{(XkAgMuB@;Q`oyj$mdWO8A4Jw+tRZ!p2!9?ghA%xiGWz6ZWoMVou3@qhU"
    "z#s+j*M@r`4lEgcEkay1dP?r=<?uF5VOj9TC>MQLS$P{v3J>ktDWql9s_vMl=pREU#P-Y`<MNCQ0gi@QMObJcq*O9A5sJ`ZEWZRH"
    "Z(5z*-4ZIZlv#CKcmCWRD|z^{m{3Z?458s21BBcsJ33vFqF<IowZwwC|0RU_CoTg#h>+1_sfz)0n;Ke6RC4dvAOvZ}@ZTDzWF>15"
    "LRt$dcupZi6++9u-jJe!Hg&5s5Ul4JLY$!lb;Y?E1~;8W$<OJFypc1g!2bxLo&=Gy>*Ny<I-Rlfp#&oGWB3MyGS^x(ickH#yWOH7"
    "^D;0!hi1XXUqVPKgd&29nc+JL$?lHnC3h_9NlU0N^s%b|5s^#W9|oo`L5M;eW(X1JVg#hm1Jhe}tdx)<xx=VH2sJcarCVURr9wxV"
    "wLyln(b|jDA_0`1`&9@Lr06bLLURygHcn0<r0}>GAauzRisz$|exc&=amJuxSBs9giF;c)$g$o4gC4kJPog8-u_qyPoJR-=ZE{mX"
    "gpiEs3`@xTEXB}q&5o@hG<#XPK@=)e^k@>nxb;{l*X=lDz4h}{+%cY9VMElOc$OLrdO9#oX=6=0YCts!Eg^X&MSlrG>Cem%+B6Np"
    "OwC7%eznPQSz^SHeTPCKHRZX5VjlJ?gipEU+7UL^;mNhFeEl?QFF|NXLZfRjp<OEarh}81&?$tNGlKpILRVu#oD%O4(z54DDrtrh"
    "ll!LBgWTwOlqH1UlN~F8>ASFjl<X;l#z>TqP$I!LD-tFWW^ev{Kf^r;wN^~A+^iURjlh7;t!ifC;$FdP6w^g*N>C_mFQn+fbByem"
    ";zr~o1#UfjxLJ`a396&;c*nF(`yCmly)2{J)|(aekY1V+?OJE$beIp@aB;(ufSD)7SelJc*$x?wC)_brw}h@`$IxD$vSa5E@@-&O"
    "AapT1#v3Yve}#;lRHw=!Xg=Ixn>+=B|Mc+`{YhZ@GK8oTR>B;}mmDnIx<z)(w^M8N=IP8ED-e>Z#@J+dIwuh7?V>m2hEsW+qt|nA"
    ">W0Z-PXtYE#s9y)SrP7-@{kH!78PEEpvllWd2M5c(Bs!O$`7N^1qk_aYQrk?CdVkL+aHHFELA>InDFhGd8Y=X+#^A-jwzi%h$CHg"
    "L0d?gZ{xVUPe^Do!~4Ejc?2P&&=m+>-6u4UCi_b_c3C)G#Rk<915ntF^(hFI&5BP#=)yuGPg-TN(8z~5Ir$wgywVGMT`6`<>tE{n"
    "M_-%Nzy3~gzQ9WEa{l0pqH?A-ukVjO*6=7D{>CZ%*lQba?fD1ZqCX-^+pl<7d1db7^{&71e@IlX_@AT@yhX3=Cn03PxRb|!eO!JB"
    "LMN|$eEbF0pNG&zjoE(Zp|8mkzy4bOpAV^i|Norg!N0vyJ|p9+y!a6aQ9Hrt=l?5@@9{mp5PDUA1^&yLt6thKgpl%s75IlI>pz26"
    "ZAJ"
)
