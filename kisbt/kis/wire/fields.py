"""Every KIS field name and code kisbt uses, in the order KIS sends them.

A table lists the fields of one block of an answer as ``name:kind``; the letters are
those of `Kind`. The spelling is KIS's own, capitals included: read answers without
regard to case, write them as they stand here.

Source:
    Official samples, github.com/koreainvestment/open-trading-api (2026-07-09):
    folder ``examples_llm/domestic_stock``, one folder a call, named like the table
    here in lower case; ``ccnl_krx``, ``asking_price_krx`` and ``ccnl_notice`` for the
    frames. Field kinds: the portal's tables (apiportal.koreainvestment.com).
"""

from enum import StrEnum
from typing import Final, NamedTuple


class Kind(StrEnum):
    """How the text of a field reads; every value on the wire is text."""

    INTEGER = "i"
    DECIMAL = "d"
    CODE = "c"
    TEXT = "t"
    DATE = "D"
    TIME = "T"
    FLAG = "y"
    OTHER = "s"


NUMBERS: Final = frozenset({Kind.INTEGER, Kind.DECIMAL})


class Field(NamedTuple):
    """A field of an answer or a frame."""

    name: str
    kind: Kind


class Key(NamedTuple):
    """A key of a request."""

    name: str
    required: bool


class Block(NamedTuple):
    """A part of an answer: one object, or a list of them.

    Attributes:
        fields: in the order in which they are sent.
    """

    name: str
    is_list: bool
    fields: tuple[Field, ...]


class CallFields(NamedTuple):
    """What a call sends and what comes back."""

    request: tuple[Key, ...]
    response: tuple[Block, ...]


ONE: Final = False
ROWS: Final = True


def fields(text: str) -> tuple[Field, ...]:
    """Return the fields written as ``name:kind``, blanks between them."""
    return tuple(
        Field(name, Kind(kind))
        for name, _colon, kind in (word.partition(":") for word in text.split())
    )


def keys(text: str) -> tuple[Key, ...]:
    """Return the keys in `text`; a question mark marks one that may be left out."""
    return tuple(
        Key(word.removesuffix("?"), not word.endswith("?")) for word in text.split()
    )


def codes(text: str) -> frozenset[str]:
    """Return the codes in `text`, blanks between them."""
    return frozenset(text.split())


def block(name: str, is_list: bool, text: str) -> Block:
    """Return a block of an answer."""
    return Block(name, is_list, fields(text))


# Parts of every answer. Source: portal, common response; the token end answers
# errors in a form of its own (error_code, error_description, HTTP 403).
RESULT_CODE: Final = "rt_cd"
MESSAGE_CODE: Final = "msg_cd"
MESSAGE_TEXT: Final = "msg1"
TOKEN_ERROR_CODE: Final = "error_code"
TOKEN_ERROR_TEXT: Final = "error_description"
SUCCESS: Final = "0"
# Seen on refusals: "1" usual, "7" on real accounts (public logs, 2026).
REFUSED: Final = "1"
REFUSED_REAL: Final = "7"
MESSAGE_WIDTH: Final = 80

# Headers. Standard headers come capitalised, these as written here.
H_TR_ID: Final = "tr_id"
H_TR_CONT: Final = "tr_cont"
H_APP_KEY: Final = "appkey"
H_APP_SECRET: Final = "appsecret"
H_TOKEN: Final = "authorization"
H_CUSTOMER: Final = "custtype"
H_HASH: Final = "hashkey"
H_GUID: Final = "gt_uid"
PERSON: Final = "P"
MORE_PAGES: Final = frozenset({"F", "M"})
FIRST_OF_MANY: Final = "F"
MORE_PAGE: Final = "M"
LAST_PAGE: Final = "D"
NEXT_PAGE: Final = "N"
FORM: Final = "application/json; charset=utf-8"

ACCOUNT_NUMBER: Final = "CANO"
ACCOUNT_PRODUCT: Final = "ACNT_PRDT_CD"

# Codes. Sources: portal tables; ORD_DVSN 27-29 and 41-47 from the KIS notice of
# 2026-09-09 (after-market and NXT changes of 2026-09-14); 07 has no market since.
ORD_DVSN: Final = {
    "limit": "00",
    "market": "01",
    "conditional_limit": "02",
    "best_limit": "03",
    "priority_limit": "04",
    "pre_close_price": "05",
    "post_close_price": "06",
    "single_price": "07",
    "treasury": "08",
    "treasury_option": "09",
    "treasury_trust": "10",
    "limit_ioc": "11",
    "limit_fok": "12",
    "market_ioc": "13",
    "market_fok": "14",
    "best_ioc": "15",
    "best_fok": "16",
    "mid_price": "21",
    "stop_limit": "22",
    "mid_price_ioc": "23",
    "mid_price_fok": "24",
    "pre_market_limit": "27",
    "pre_market_best": "28",
    "pre_market_priority": "29",
    "after_limit": "41",
    "after_limit_ioc": "42",
    "after_limit_fok": "43",
    "after_best": "44",
    "after_best_ioc": "45",
    "after_best_fok": "46",
    "after_priority": "47",
    "block": "51",
    "basket": "52",
    "pre_block": "62",
    "pre_basket": "63",
    "auction": "65",
    "pre_treasury_trust": "67",
    "pre_treasury": "69",
    "after_block": "72",
    "after_treasury_trust": "77",
    "after_treasury_block": "79",
    "basket_trade": "80",
}
"""Order kind to code; the names are those of `OrderKind`."""

ORD_DVSN_NAMES: Final = {
    "00": "지정가",
    "01": "시장가",
    "02": "조건부지정가",
    "03": "최유리지정가",
    "04": "최우선지정가",
    "05": "장전시간외",
    "06": "장후시간외",
    "07": "시간외단일가",
    "11": "IOC지정가",
    "12": "FOK지정가",
    "13": "IOC시장가",
    "14": "FOK시장가",
    "15": "IOC최유리",
    "16": "FOK최유리",
    "21": "중간가",
    "22": "스톱지정가",
    "23": "IOC중간가",
    "24": "FOK중간가",
    "27": "GTP지정가",
    "28": "GTP최유리지정가",
    "29": "GTP최우선지정가",
    "41": "애프터지정가",
    "42": "애프터IOC지정가",
    "43": "애프터FOK지정가",
    "44": "애프터최유리지정가",
    "45": "애프터IOC최유리",
    "46": "애프터FOK최유리",
    "47": "애프터최우선지정가",
}

# Which kinds an exchange takes. Source: portal, order-cash; the after-market and
# NXT pre-market kinds from the notice of 2026-09-09.
KRX_KINDS: Final = codes(
    "00 01 02 03 04 05 06 07 11 12 13 14 15 16 21 22 23 24 41 42 43 44 45 46 47"
)
NXT_KINDS: Final = codes("00 03 04 11 12 13 14 15 16 21 22 23 24 27 28 29")
SOR_KINDS: Final = codes("00 01 03 04 11 12 13 14 15 16")
# Seen to be taken by the practice market; others refused (python-kis, 2025-09).
MOCK_KINDS: Final = codes("00 01 02 03 04")
# Kinds whose price is read; every other kind sends "0". 04 is sent with a price by
# two clients and without by one: a price does no harm.
PRICED_KINDS: Final = codes("00 02 04 07 11 12 22 27 41 42 43")

SLL_BUY_DVSN_CD: Final = {"sell": "01", "buy": "02"}
SIDE_NAMES: Final = {"01": "현금매도", "02": "현금매수"}
RVSE_CNCL_DVSN_CD: Final = {"amend": "01", "cancel": "02"}
EXCG_ID_DVSN_CD: Final = {"KRX": "KRX", "NXT": "NXT", "SOR": "SOR"}
"""Older names of one letter and padded forms are not seen on this field."""
FID_COND_MRKT_DIV_CODE: Final = {"KRX": "J", "NXT": "NX", "UNIFIED": "UN"}
FID_PERIOD_DIV_CODE: Final = {"day": "D", "week": "W", "month": "M", "year": "Y"}
# 1 upper limit, 2 up, 3 flat, 4 lower limit, 5 down: the last two mean a fall.
FALLING_SIGNS: Final = frozenset({"4", "5"})
RISING_SIGNS: Final = frozenset({"1", "2"})
SIGN_UP: Final = "2"
SIGN_FLAT: Final = "3"
SIGN_DOWN: Final = "5"
# Market and kind of security. Source: portal, search-stock-info.
MKET_ID_CD: Final = {"KOSPI": "STK", "KOSDAQ": "KSQ", "KONEX": "KNX"}
SCTY_GRP_ID_CD: Final = {"STOCK": "ST", "ETF": "EF", "ETN": "EN", "ELW": "EW"}
STOCK_PRODUCT_TYPE: Final = "300"
# iscd_stat_cls_code. Source: portal, inquire-price.
STATUS_HALTED: Final = "58"
API_CHANNEL: Final = "OpnAPI"
"""Who entered an order, on rows of orders made over the API (public logs, 2026)."""

# Frames. Source: the official samples of the websocket and, for the columns since
# 2026-09-14, the KIS notice of 2026-09-09.
TRADE_TRS: Final = {"H0STCNT0": "KRX", "H0NXCNT0": "NXT", "H0UNCNT0": "UNIFIED"}
BOOK_TRS: Final = {"H0STASP0": "KRX", "H0NXASP0": "NXT", "H0UNASP0": "UNIFIED"}
NOTICE_TR_REAL: Final = "H0STCNI0"
NOTICE_TR_MOCK: Final = "H0STCNI9"
NOTICE_TRS: Final = frozenset({NOTICE_TR_REAL, NOTICE_TR_MOCK})
MARKET_CLS_CODE: Final = {
    "pre": "1",
    "regular": "2",
    "after": "3",
    "close_price": "5",
    "unknown": "",
}
CCLD_DVSN: Final = {"buy": "1", "sell": "5"}
CCLD_DVSN_AUCTION: Final = "3"
"""Side that took the price; 3 is a trade of an auction."""
ORD_EXG_GB: Final = {"1": "KRX", "2": "NXT", "3": "SOR", "4": "SOR"}
"""Exchange on a notice; 3 and 4 were sent by SOR to KRX and to NXT."""
RCTF_CLS: Final = {"new": "0", "amend": "1", "cancel": "2"}
TR_TYPE_REGISTER: Final = "1"
TR_TYPE_UNREGISTER: Final = "2"
PINGPONG: Final = "PINGPONG"

ORDER_CASH = CallFields(
    request=keys(
        """
        CANO ACNT_PRDT_CD PDNO SLL_TYPE? ORD_DVSN ORD_QTY ORD_UNPR CNDT_PRIC?
        EXCG_ID_DVSN_CD?
        """
    ),
    response=(
        block(
            "output",
            ONE,
            """
            KRX_FWDG_ORD_ORGNO:c ODNO:c ORD_TMD:T
            """,
        ),
    ),
)

ORDER_RVSECNCL = CallFields(
    request=keys(
        """
        CANO ACNT_PRDT_CD KRX_FWDG_ORD_ORGNO ORGN_ODNO ORD_DVSN RVSE_CNCL_DVSN_CD
        ORD_QTY ORD_UNPR QTY_ALL_ORD_YN CNDT_PRIC? EXCG_ID_DVSN_CD?
        """
    ),
    response=(
        block(
            "output",
            ONE,
            """
            KRX_FWDG_ORD_ORGNO:c ODNO:c ORD_TMD:T
            """,
        ),
    ),
)

INQUIRE_PSBL_RVSECNCL = CallFields(
    request=keys(
        """
        CANO ACNT_PRDT_CD INQR_DVSN_1 INQR_DVSN_2 CTX_AREA_FK100 CTX_AREA_NK100
        """
    ),
    response=(
        block(
            "output",
            ROWS,
            """
            ord_gno_brno:c odno:c orgn_odno:c ord_dvsn_name:t pdno:c prdt_name:t
            rvse_cncl_dvsn_name:t ord_qty:i ord_unpr:d ord_tmd:T tot_ccld_qty:i
            tot_ccld_amt:d psbl_qty:i sll_buy_dvsn_cd:c ord_dvsn_cd:c
            mgco_aptm_odno:c excg_dvsn_cd:c excg_id_dvsn_cd:c excg_id_dvsn_name:t
            stpm_cndt_pric:d stpm_efct_occr_yn:y
            """,
        ),
    ),
)

INQUIRE_DAILY_CCLD = CallFields(
    request=keys(
        """
        CANO ACNT_PRDT_CD INQR_STRT_DT INQR_END_DT SLL_BUY_DVSN_CD PDNO?
        ORD_GNO_BRNO ODNO? CCLD_DVSN INQR_DVSN INQR_DVSN_1 INQR_DVSN_3
        EXCG_ID_DVSN_CD CTX_AREA_FK100 CTX_AREA_NK100
        """
    ),
    response=(
        block(
            "output1",
            ROWS,
            """
            ord_dt:D ord_gno_brno:c odno:c orgn_odno:c ord_dvsn_name:t
            sll_buy_dvsn_cd:c sll_buy_dvsn_cd_name:t pdno:c prdt_name:t ord_qty:i
            ord_unpr:d ord_tmd:T tot_ccld_qty:i avg_prvs:d cncl_yn:y tot_ccld_amt:d
            loan_dt:D ordr_empno:s ord_dvsn_cd:c cnc_cfrm_qty:i rmn_qty:i rjct_qty:i
            ccld_cndt_name:t inqr_ip_addr:s cpbc_ordp_ord_rcit_dvsn_cd:c
            cpbc_ordp_infm_mthd_dvsn_cd:c infm_tmd:T ctac_tlno:s prdt_type_cd:c
            excg_dvsn_cd:c cpbc_ordp_mtrl_dvsn_cd:c ord_orgno:c rsvn_ord_end_dt:D
            excg_id_dvsn_Cd:c stpm_cndt_pric:d stpm_efct_occr_dtmd:s
            """,
        ),
        block(
            "output2",
            ONE,
            """
            tot_ord_qty:i tot_ccld_qty:i tot_ccld_amt:d prsm_tlex_smtl:d
            pchs_avg_pric:d
            """,
        ),
    ),
)

INQUIRE_BALANCE = CallFields(
    request=keys(
        """
        CANO ACNT_PRDT_CD AFHR_FLPR_YN OFL_YN? INQR_DVSN UNPR_DVSN FUND_STTL_ICLD_YN
        FNCG_AMT_AUTO_RDPT_YN PRCS_DVSN CTX_AREA_FK100 CTX_AREA_NK100
        """
    ),
    response=(
        block(
            "output1",
            ROWS,
            """
            pdno:c prdt_name:t trad_dvsn_name:t bfdy_buy_qty:i bfdy_sll_qty:i
            thdt_buyqty:i thdt_sll_qty:i hldg_qty:i ord_psbl_qty:i pchs_avg_pric:d
            pchs_amt:d prpr:d evlu_amt:d evlu_pfls_amt:d evlu_pfls_rt:d
            evlu_erng_rt:d loan_dt:D loan_amt:d stln_slng_chgs:d expd_dt:D fltt_rt:d
            bfdy_cprs_icdc:s item_mgna_rt_name:t grta_rt_name:t sbst_pric:d
            stck_loan_unpr:d
            """,
        ),
        block(
            "output2",
            ROWS,
            """
            dnca_tot_amt:d nxdy_excc_amt:d prvs_rcdl_excc_amt:d cma_evlu_amt:d
            bfdy_buy_amt:d thdt_buy_amt:d nxdy_auto_rdpt_amt:d bfdy_sll_amt:d
            thdt_sll_amt:d d2_auto_rdpt_amt:d bfdy_tlex_amt:d thdt_tlex_amt:d
            tot_loan_amt:d scts_evlu_amt:d tot_evlu_amt:d nass_amt:d
            fncg_gld_auto_rdpt_yn:y pchs_amt_smtl_amt:d evlu_amt_smtl_amt:d
            evlu_pfls_smtl_amt:d tot_stln_slng_chgs:d bfdy_tot_asst_evlu_amt:d
            asst_icdc_amt:d asst_icdc_erng_rt:d
            """,
        ),
    ),
)

INQUIRE_PSBL_ORDER = CallFields(
    request=keys(
        """
        CANO ACNT_PRDT_CD PDNO ORD_UNPR ORD_DVSN CMA_EVLU_AMT_ICLD_YN OVRS_ICLD_YN
        """
    ),
    response=(
        block(
            "output",
            ONE,
            """
            ord_psbl_cash:d ord_psbl_sbst:d ruse_psbl_amt:d fund_rpch_chgs:d
            psbl_qty_calc_unpr:i nrcvb_buy_amt:d nrcvb_buy_qty:i max_buy_amt:d
            max_buy_qty:i cma_evlu_amt:d ovrs_re_use_amt_wcrc:d
            ord_psbl_frcr_amt_wcrc:d
            """,
        ),
    ),
)

INQUIRE_PSBL_SELL = CallFields(
    request=keys(
        """
        CANO ACNT_PRDT_CD PDNO
        """
    ),
    response=(
        block(
            "output",
            ONE,
            """
            pdno:c prdt_name:t buy_qty:i sll_qty:i cblc_qty:i nsvg_qty:i
            ord_psbl_qty:i pchs_avg_pric:d pchs_amt:d now_pric:d evlu_amt:d
            evlu_pfls_amt:d evlu_pfls_rt:d
            """,
        ),
    ),
)

INQUIRE_PERIOD_TRADE_PROFIT = CallFields(
    request=keys(
        """
        CANO ACNT_PRDT_CD SORT_DVSN PDNO INQR_STRT_DT INQR_END_DT CBLC_DVSN
        CTX_AREA_NK100 CTX_AREA_FK100
        """
    ),
    response=(
        block(
            "output1",
            ROWS,
            """
            trad_dt:D pdno:c prdt_name:t trad_dvsn_name:t loan_dt:D hldg_qty:i
            pchs_unpr:d buy_qty:i buy_amt:d sll_pric:d sll_qty:i sll_amt:d
            rlzt_pfls:d pfls_rt:d fee:s tl_tax:s loan_int:s
            """,
        ),
        block(
            "output2",
            ONE,
            """
            sll_qty_smtl:i sll_tr_amt_smtl:d sll_fee_smtl:s sll_tltx_smtl:s
            sll_excc_amt_smtl:d buyqty_smtl:i buy_tr_amt_smtl:d buy_fee_smtl:s
            buy_tax_smtl:s buy_excc_amt_smtl:d tot_qty:i tot_tr_amt:d tot_fee:s
            tot_tltx:s tot_excc_amt:d tot_rlzt_pfls:d loan_int:s tot_pftrt:d
            """,
        ),
    ),
)

INQUIRE_PERIOD_PROFIT = CallFields(
    request=keys(
        """
        CANO ACNT_PRDT_CD SORT_DVSN PDNO INQR_STRT_DT INQR_END_DT INQR_DVSN
        CBLC_DVSN CTX_AREA_NK100 CTX_AREA_FK100
        """
    ),
    response=(
        block(
            "output1",
            ROWS,
            """
            trad_dt:D buy_amt:d sll_amt:d rlzt_pfls:d fee:s loan_int:s tl_tax:s
            pfls_rt:d sll_qty1:i buy_qty1:i
            """,
        ),
        block(
            "output2",
            ONE,
            """
            sll_qty_smtl:i sll_tr_amt_smtl:d sll_fee_smtl:s sll_tltx_smtl:s
            sll_excc_amt_smtl:d buy_qty_smtl:i buy_tr_amt_smtl:d buy_fee_smtl:s
            buy_tax_smtl:s buy_excc_amt_smtl:d tot_qty:i tot_tr_amt:d tot_fee:s
            tot_tltx:s tot_excc_amt:d tot_rlzt_pfls:d loan_int:s
            """,
        ),
    ),
)

INQUIRE_PRICE = CallFields(
    request=keys(
        """
        FID_COND_MRKT_DIV_CODE FID_INPUT_ISCD
        """
    ),
    response=(
        block(
            "output",
            ONE,
            """
            iscd_stat_cls_code:c marg_rate:d rprs_mrkt_kor_name:t
            new_hgpr_lwpr_cls_code:c bstp_kor_isnm:t temp_stop_yn:y
            oprc_rang_cont_yn:y clpr_rang_cont_yn:y crdt_able_yn:y
            grmn_rate_cls_code:c elw_pblc_yn:y stck_prpr:d prdy_vrss:d
            prdy_vrss_sign:c prdy_ctrt:d acml_tr_pbmn:d acml_vol:i
            prdy_vrss_vol_rate:i stck_oprc:d stck_hgpr:d stck_lwpr:d stck_mxpr:d
            stck_llam:d stck_sdpr:d wghn_avrg_stck_prc:d hts_frgn_ehrt:d
            frgn_ntby_qty:i pgtr_ntby_qty:i pvt_scnd_dmrs_prc:d pvt_frst_dmrs_prc:d
            pvt_pont_val:s pvt_frst_dmsp_prc:d pvt_scnd_dmsp_prc:d dmrs_val:s
            dmsp_val:s cpfn:d rstc_wdth_prc:d stck_fcam:d stck_sspr:s aspr_unit:d
            hts_deal_qty_unit_val:i lstn_stcn:i hts_avls:d per:d pbr:d stac_month:s
            vol_tnrt:i eps:d bps:d d250_hgpr:d d250_hgpr_date:D
            d250_hgpr_vrss_prpr_rate:d d250_lwpr:d d250_lwpr_date:D
            d250_lwpr_vrss_prpr_rate:d stck_dryy_hgpr:d dryy_hgpr_vrss_prpr_rate:d
            dryy_hgpr_date:D stck_dryy_lwpr:d dryy_lwpr_vrss_prpr_rate:d
            dryy_lwpr_date:D w52_hgpr:d w52_hgpr_vrss_prpr_ctrt:d w52_hgpr_date:D
            w52_lwpr:d w52_lwpr_vrss_prpr_ctrt:d w52_lwpr_date:D
            whol_loan_rmnd_rate:d ssts_yn:y stck_shrn_iscd:c fcam_cnnm:d cpfn_cnnm:d
            apprch_rate:d frgn_hldn_qty:i vi_cls_code:c ovtm_vi_cls_code:c
            last_ssts_cntg_qty:i invt_caful_yn:y mrkt_warn_cls_code:c
            short_over_yn:y sltr_yn:y mang_issu_cls_code:c
            """,
        ),
    ),
)

INQUIRE_ASKING_PRICE_EXP_CCN = CallFields(
    request=keys(
        """
        FID_COND_MRKT_DIV_CODE FID_INPUT_ISCD
        """
    ),
    response=(
        block(
            "output1",
            ONE,
            """
            aspr_acpt_hour:T askp1:d askp2:d askp3:d askp4:d askp5:d askp6:d askp7:d
            askp8:d askp9:d askp10:d bidp1:d bidp2:d bidp3:d bidp4:d bidp5:d bidp6:d
            bidp7:d bidp8:d bidp9:d bidp10:d askp_rsqn1:i askp_rsqn2:i askp_rsqn3:i
            askp_rsqn4:i askp_rsqn5:i askp_rsqn6:i askp_rsqn7:i askp_rsqn8:i
            askp_rsqn9:i askp_rsqn10:i bidp_rsqn1:i bidp_rsqn2:i bidp_rsqn3:i
            bidp_rsqn4:i bidp_rsqn5:i bidp_rsqn6:i bidp_rsqn7:i bidp_rsqn8:i
            bidp_rsqn9:i bidp_rsqn10:i askp_rsqn_icdc1:i askp_rsqn_icdc2:i
            askp_rsqn_icdc3:i askp_rsqn_icdc4:i askp_rsqn_icdc5:i askp_rsqn_icdc6:i
            askp_rsqn_icdc7:i askp_rsqn_icdc8:i askp_rsqn_icdc9:i askp_rsqn_icdc10:i
            bidp_rsqn_icdc1:i bidp_rsqn_icdc2:i bidp_rsqn_icdc3:i bidp_rsqn_icdc4:i
            bidp_rsqn_icdc5:i bidp_rsqn_icdc6:i bidp_rsqn_icdc7:i bidp_rsqn_icdc8:i
            bidp_rsqn_icdc9:i bidp_rsqn_icdc10:i total_askp_rsqn:i total_bidp_rsqn:i
            total_askp_rsqn_icdc:i total_bidp_rsqn_icdc:i ovtm_total_askp_icdc:d
            ovtm_total_bidp_icdc:d ovtm_total_askp_rsqn:i ovtm_total_bidp_rsqn:i
            ntby_aspr_rsqn:i new_mkop_cls_code:c
            """,
        ),
        block(
            "output2",
            ONE,
            """
            antc_mkop_cls_code:c stck_prpr:d stck_oprc:d stck_hgpr:d stck_lwpr:d
            stck_sdpr:d antc_cnpr:d antc_cntg_vrss_sign:c antc_cntg_vrss:d
            antc_cntg_prdy_ctrt:d antc_vol:i stck_shrn_iscd:c vi_cls_code:c
            """,
        ),
    ),
)

INQUIRE_CCNL = CallFields(
    request=keys(
        """
        FID_COND_MRKT_DIV_CODE FID_INPUT_ISCD
        """
    ),
    response=(
        block(
            "output",
            ROWS,
            """
            stck_cntg_hour:T stck_prpr:d prdy_vrss:d prdy_vrss_sign:c cntg_vol:i
            tday_rltv:d prdy_ctrt:d
            """,
        ),
    ),
)

INQUIRE_TIME_ITEMCONCLUSION = CallFields(
    request=keys(
        """
        FID_COND_MRKT_DIV_CODE FID_INPUT_ISCD FID_INPUT_HOUR_1
        """
    ),
    response=(
        block(
            "output1",
            ONE,
            """
            stck_prpr:d prdy_vrss:d prdy_vrss_sign:c prdy_ctrt:d acml_vol:i
            prdy_vol:i rprs_mrkt_kor_name:t
            """,
        ),
        block(
            "output2",
            ROWS,
            """
            stck_cntg_hour:T stck_pbpr:s prdy_vrss:d prdy_vrss_sign:c prdy_ctrt:d
            askp:d bidp:d tday_rltv:d acml_vol:i cnqn:i
            """,
        ),
    ),
)

INQUIRE_DAILY_PRICE = CallFields(
    request=keys(
        """
        FID_COND_MRKT_DIV_CODE FID_INPUT_ISCD FID_PERIOD_DIV_CODE FID_ORG_ADJ_PRC
        """
    ),
    response=(
        block(
            "output",
            ROWS,
            """
            stck_bsop_date:D stck_oprc:d stck_hgpr:d stck_lwpr:d stck_clpr:d
            acml_vol:i prdy_vrss_vol_rate:i prdy_vrss:d prdy_vrss_sign:c prdy_ctrt:d
            hts_frgn_ehrt:d frgn_ntby_qty:i flng_cls_code:c acml_prtt_rate:d
            """,
        ),
    ),
)

INQUIRE_DAILY_ITEMCHARTPRICE = CallFields(
    request=keys(
        """
        FID_COND_MRKT_DIV_CODE FID_INPUT_ISCD FID_INPUT_DATE_1 FID_INPUT_DATE_2
        FID_PERIOD_DIV_CODE FID_ORG_ADJ_PRC
        """
    ),
    response=(
        block(
            "output1",
            ONE,
            """
            prdy_vrss:d prdy_vrss_sign:c prdy_ctrt:d stck_prdy_clpr:d acml_vol:i
            acml_tr_pbmn:d hts_kor_isnm:t stck_prpr:d stck_shrn_iscd:c prdy_vol:i
            stck_mxpr:d stck_llam:d stck_oprc:d stck_hgpr:d stck_lwpr:d
            stck_prdy_oprc:d stck_prdy_hgpr:d stck_prdy_lwpr:d askp:d bidp:d
            prdy_vrss_vol:i vol_tnrt:i stck_fcam:d lstn_stcn:i cpfn:d hts_avls:d
            per:d eps:d pbr:d itewhol_loan_rmnd_ratem:d
            """,
        ),
        block(
            "output2",
            ROWS,
            """
            stck_bsop_date:D stck_clpr:d stck_oprc:d stck_hgpr:d stck_lwpr:d
            acml_vol:i acml_tr_pbmn:d flng_cls_code:c prtt_rate:d mod_yn:y
            prdy_vrss_sign:c prdy_vrss:d revl_issu_reas:t
            """,
        ),
    ),
)

INQUIRE_TIME_ITEMCHARTPRICE = CallFields(
    request=keys(
        """
        FID_COND_MRKT_DIV_CODE FID_INPUT_ISCD FID_INPUT_HOUR_1 FID_PW_DATA_INCU_YN
        FID_ETC_CLS_CODE
        """
    ),
    response=(
        block(
            "output1",
            ONE,
            """
            prdy_vrss:d prdy_vrss_sign:c prdy_ctrt:d stck_prdy_clpr:d acml_vol:i
            acml_tr_pbmn:d hts_kor_isnm:t stck_prpr:d
            """,
        ),
        block(
            "output2",
            ROWS,
            """
            stck_bsop_date:D stck_cntg_hour:T stck_prpr:d stck_oprc:d stck_hgpr:d
            stck_lwpr:d cntg_vol:i acml_tr_pbmn:d
            """,
        ),
    ),
)

INQUIRE_TIME_DAILYCHARTPRICE = CallFields(
    request=keys(
        """
        FID_COND_MRKT_DIV_CODE FID_INPUT_ISCD FID_INPUT_HOUR_1 FID_INPUT_DATE_1
        FID_PW_DATA_INCU_YN FID_FAKE_TICK_INCU_YN?
        """
    ),
    response=(
        block(
            "output1",
            ONE,
            """
            prdy_vrss:d prdy_vrss_sign:c prdy_ctrt:d stck_prdy_clpr:d acml_vol:i
            acml_tr_pbmn:d hts_kor_isnm:t stck_prpr:d
            """,
        ),
        block(
            "output2",
            ROWS,
            """
            stck_bsop_date:D stck_cntg_hour:T stck_prpr:d stck_oprc:d stck_hgpr:d
            stck_lwpr:d cntg_vol:i acml_tr_pbmn:d
            """,
        ),
    ),
)

INQUIRE_DAILY_INDEXCHARTPRICE = CallFields(
    request=keys(
        """
        FID_COND_MRKT_DIV_CODE FID_INPUT_ISCD FID_INPUT_DATE_1 FID_INPUT_DATE_2
        FID_PERIOD_DIV_CODE
        """
    ),
    response=(
        block(
            "output1",
            ONE,
            """
            BSTP_NMIX_PRDY_VRSS:d PRDY_VRSS_SIGN:c BSTP_NMIX_PRDY_CTRT:d PRDY_NMIX:d
            ACML_VOL:i ACML_TR_PBMN:d HTS_KOR_ISNM:t BSTP_NMIX_PRPR:d
            BSTP_CLS_CODE:c PRDY_VOL:i BSTP_NMIX_OPRC:d BSTP_NMIX_HGPR:d
            BSTP_NMIX_LWPR:d FUTS_PRDY_OPRC:d FUTS_PRDY_HGPR:d FUTS_PRDY_LWPR:d
            """,
        ),
        block(
            "output2",
            ROWS,
            """
            STCK_BSOP_DATE:D BSTP_NMIX_PRPR:d BSTP_NMIX_OPRC:d BSTP_NMIX_HGPR:d
            BSTP_NMIX_LWPR:d ACML_VOL:i ACML_TR_PBMN:d MOD_YN:y
            """,
        ),
    ),
)

INQUIRE_INDEX_PRICE = CallFields(
    request=keys(
        """
        FID_COND_MRKT_DIV_CODE FID_INPUT_ISCD
        """
    ),
    response=(
        block(
            "output",
            ONE,
            """
            bstp_nmix_prpr:d bstp_nmix_prdy_vrss:d prdy_vrss_sign:c
            bstp_nmix_prdy_ctrt:d acml_vol:i prdy_vol:i acml_tr_pbmn:d
            prdy_tr_pbmn:d bstp_nmix_oprc:d prdy_nmix_vrss_nmix_oprc:d
            oprc_vrss_prpr_sign:c bstp_nmix_oprc_prdy_ctrt:d bstp_nmix_hgpr:d
            prdy_nmix_vrss_nmix_hgpr:d hgpr_vrss_prpr_sign:c
            bstp_nmix_hgpr_prdy_ctrt:d bstp_nmix_lwpr:d prdy_clpr_vrss_lwpr:d
            lwpr_vrss_prpr_sign:c prdy_clpr_vrss_lwpr_rate:d ascn_issu_cnt:i
            uplm_issu_cnt:i stnr_issu_cnt:i down_issu_cnt:i lslm_issu_cnt:i
            dryy_bstp_nmix_hgpr:d dryy_hgpr_vrss_prpr_rate:d
            dryy_bstp_nmix_hgpr_date:D dryy_bstp_nmix_lwpr:d
            dryy_lwpr_vrss_prpr_rate:d dryy_bstp_nmix_lwpr_date:D total_askp_rsqn:i
            total_bidp_rsqn:i seln_rsqn_rate:i shnu_rsqn_rate:i ntby_rsqn:i
            """,
        ),
    ),
)

INQUIRE_INDEX_DAILY_PRICE = CallFields(
    request=keys(
        """
        FID_COND_MRKT_DIV_CODE FID_INPUT_ISCD FID_PERIOD_DIV_CODE FID_INPUT_DATE_1
        """
    ),
    response=(
        block(
            "output1",
            ONE,
            """
            bstp_nmix_prpr:d bstp_nmix_prdy_vrss:d prdy_vrss_sign:c
            bstp_nmix_prdy_ctrt:d acml_vol:i acml_tr_pbmn:d bstp_nmix_oprc:d
            bstp_nmix_hgpr:d bstp_nmix_lwpr:d prdy_vol:i ascn_issu_cnt:i
            down_issu_cnt:i stnr_issu_cnt:i uplm_issu_cnt:i lslm_issu_cnt:i
            prdy_tr_pbmn:d dryy_bstp_nmix_hgpr_date:D dryy_bstp_nmix_hgpr:d
            dryy_bstp_nmix_lwpr:d dryy_bstp_nmix_lwpr_date:D
            """,
        ),
        block(
            "output2",
            ROWS,
            """
            stck_bsop_date:D bstp_nmix_prpr:d prdy_vrss_sign:c bstp_nmix_prdy_vrss:d
            bstp_nmix_prdy_ctrt:d bstp_nmix_oprc:d bstp_nmix_hgpr:d bstp_nmix_lwpr:d
            acml_vol_rlim:i acml_vol:i acml_tr_pbmn:d invt_new_psdg:s d20_dsrt:d
            """,
        ),
    ),
)

INQUIRE_TIME_INDEXCHARTPRICE = CallFields(
    request=keys(
        """
        FID_COND_MRKT_DIV_CODE FID_INPUT_ISCD FID_ETC_CLS_CODE FID_INPUT_HOUR_1
        FID_PW_DATA_INCU_YN
        """
    ),
    response=(
        block(
            "output1",
            ONE,
            """
            bstp_nmix_prdy_vrss:d prdy_vrss_sign:c bstp_nmix_prdy_ctrt:d prdy_nmix:d
            acml_vol:i acml_tr_pbmn:d hts_kor_isnm:t bstp_nmix_prpr:d
            bstp_cls_code:c prdy_vol:i bstp_nmix_oprc:d bstp_nmix_hgpr:d
            bstp_nmix_lwpr:d futs_prdy_oprc:d futs_prdy_hgpr:d futs_prdy_lwpr:d
            """,
        ),
        block(
            "output2",
            ROWS,
            """
            stck_bsop_date:D stck_cntg_hour:T bstp_nmix_prpr:d bstp_nmix_oprc:d
            bstp_nmix_hgpr:d bstp_nmix_lwpr:d cntg_vol:i acml_tr_pbmn:d
            """,
        ),
    ),
)

CHK_HOLIDAY = CallFields(
    request=keys(
        """
        BASS_DT CTX_AREA_NK CTX_AREA_FK
        """
    ),
    response=(
        block(
            "output",
            ROWS,
            """
            bass_dt:D wday_dvsn_cd:c bzdy_yn:y tr_day_yn:y opnd_yn:y sttl_day_yn:y
            """,
        ),
    ),
)

SEARCH_STOCK_INFO = CallFields(
    request=keys(
        """
        PRDT_TYPE_CD PDNO
        """
    ),
    response=(
        block(
            "output",
            ONE,
            """
            pdno:c prdt_type_cd:c mket_id_cd:c scty_grp_id_cd:c excg_dvsn_cd:c
            setl_mmdd:s lstg_stqt:i lstg_cptl_amt:d cpta:s papr:s issu_pric:d
            kospi200_item_yn:y scts_mket_lstg_dt:D scts_mket_lstg_abol_dt:D
            kosdaq_mket_lstg_dt:D kosdaq_mket_lstg_abol_dt:D frbd_mket_lstg_dt:D
            frbd_mket_lstg_abol_dt:D reits_kind_cd:c etf_dvsn_cd:c oilf_fund_yn:y
            idx_bztp_lcls_cd:c idx_bztp_mcls_cd:c idx_bztp_scls_cd:c stck_kind_cd:c
            mfnd_opng_dt:D mfnd_end_dt:D dpsi_erlm_cncl_dt:D etf_cu_qty:i
            prdt_name:t prdt_name120:s prdt_abrv_name:t std_pdno:c prdt_eng_name:t
            prdt_eng_name120:s prdt_eng_abrv_name:t dpsi_aptm_erlm_yn:y
            etf_txtn_type_cd:c etf_type_cd:c lstg_abol_dt:D nwst_odst_dvsn_cd:c
            sbst_pric:d thco_sbst_pric:d thco_sbst_pric_chng_dt:D tr_stop_yn:y
            admn_item_yn:y thdt_clpr:d bfdy_clpr:d clpr_chng_dt:D std_idst_clsf_cd:c
            std_idst_clsf_cd_name:t idx_bztp_lcls_cd_name:t idx_bztp_mcls_cd_name:t
            idx_bztp_scls_cd_name:t ocr_no:c crfd_item_yn:y elec_scty_yn:y
            issu_istt_cd:c etf_chas_erng_rt_dbnb:d etf_etn_ivst_heed_item_yn:y
            stln_int_rt_dvsn_cd:c frnr_psnl_lmt_rt:d lstg_rqsr_issu_istt_cd:c
            lstg_rqsr_item_cd:c trst_istt_issu_istt_cd:c cptt_trad_tr_psbl_yn:y
            nxt_tr_stop_yn:y
            """,
        ),
    ),
)

SEARCH_INFO = CallFields(
    request=keys(
        """
        PDNO PRDT_TYPE_CD
        """
    ),
    response=(
        block(
            "output",
            ONE,
            """
            pdno:c prdt_type_cd:c prdt_name:t prdt_name120:s prdt_abrv_name:t
            prdt_eng_name:t prdt_eng_name120:s prdt_eng_abrv_name:t std_pdno:c
            shtn_pdno:c prdt_sale_stat_cd:c prdt_risk_grad_cd:c prdt_clsf_cd:c
            prdt_clsf_name:t sale_strt_dt:D sale_end_dt:D wrap_asst_type_cd:c
            ivst_prdt_type_cd:c ivst_prdt_type_cd_name:t frst_erlm_dt:D
            """,
        ),
    ),
)

VOLUME_RANK = CallFields(
    request=keys(
        """
        FID_COND_MRKT_DIV_CODE FID_COND_SCR_DIV_CODE FID_INPUT_ISCD FID_DIV_CLS_CODE
        FID_BLNG_CLS_CODE FID_TRGT_CLS_CODE FID_TRGT_EXLS_CLS_CODE FID_INPUT_PRICE_1
        FID_INPUT_PRICE_2 FID_VOL_CNT FID_INPUT_DATE_1
        """
    ),
    response=(
        block(
            "output",
            ROWS,
            """
            hts_kor_isnm:t mksc_shrn_iscd:c data_rank:s stck_prpr:d prdy_vrss_sign:c
            prdy_vrss:d prdy_ctrt:d acml_vol:i prdy_vol:i lstn_stcn:i avrg_vol:i
            n_befr_clpr_vrss_prpr_rate:d vol_inrt:i vol_tnrt:i nday_vol_tnrt:i
            avrg_tr_pbmn:d tr_pbmn_tnrt:d nday_tr_pbmn_tnrt:d acml_tr_pbmn:d
            """,
        ),
    ),
)

INTSTOCK_MULTPRICE = CallFields(
    request=(),
    response=(
        block(
            "output",
            ROWS,
            """
            kospi_kosdaq_cls_name:t mrkt_trtm_cls_name:t hour_cls_code:c
            inter_shrn_iscd:c inter_kor_isnm:t inter2_prpr:d inter2_prdy_vrss:d
            prdy_vrss_sign:c prdy_ctrt:d acml_vol:i inter2_oprc:d inter2_hgpr:d
            inter2_lwpr:d inter2_llam:d inter2_mxpr:d inter2_askp:d inter2_bidp:d
            seln_rsqn:i shnu_rsqn:i total_askp_rsqn:i total_bidp_rsqn:i
            acml_tr_pbmn:d inter2_prdy_clpr:d oprc_vrss_hgpr_rate:d
            intr_antc_cntg_vrss:d intr_antc_cntg_vrss_sign:c
            intr_antc_cntg_prdy_ctrt:d intr_antc_vol:i inter2_sdpr:d
            """,
        ),
    ),
)

FLUCTUATION = CallFields(
    request=keys(
        """
        fid_cond_mrkt_div_code fid_input_iscd fid_input_price_1 fid_input_price_2
        fid_vol_cnt fid_trgt_cls_code fid_trgt_exls_cls_code fid_div_cls_code
        fid_cond_scr_div_code fid_rank_sort_cls_code fid_input_cnt_1
        fid_prc_cls_code fid_rsfl_rate1 fid_rsfl_rate2
        """
    ),
    response=(
        block(
            "output",
            ROWS,
            """
            stck_shrn_iscd:c data_rank:s hts_kor_isnm:t stck_prpr:d prdy_vrss:d
            prdy_vrss_sign:c prdy_ctrt:d acml_vol:i stck_hgpr:d hgpr_hour:T
            acml_hgpr_date:D stck_lwpr:d lwpr_hour:T acml_lwpr_date:D
            lwpr_vrss_prpr_rate:d dsgt_date_clpr_vrss_prpr_rate:d cnnt_ascn_dynu:s
            hgpr_vrss_prpr_rate:d cnnt_down_dynu:s oprc_vrss_prpr_sign:c
            oprc_vrss_prpr:d oprc_vrss_prpr_rate:d prd_rsfl:s prd_rsfl_rate:d
            """,
        ),
    ),
)

TRADE_FIELDS = fields(
    """
    MKSC_SHRN_ISCD:c STCK_CNTG_HOUR:T STCK_PRPR:d PRDY_VRSS_SIGN:c PRDY_VRSS:d
    PRDY_CTRT:d WGHN_AVRG_STCK_PRC:d STCK_OPRC:d STCK_HGPR:d STCK_LWPR:d ASKP1:d
    BIDP1:d CNTG_VOL:i ACML_VOL:i ACML_TR_PBMN:d SELN_CNTG_CSNU:i SHNU_CNTG_CSNU:i
    NTBY_CNTG_CSNU:i CTTR:d SELN_CNTG_SMTN:i SHNU_CNTG_SMTN:i CCLD_DVSN:c
    SHNU_RATE:d PRDY_VOL_VRSS_ACML_VOL_RATE:i OPRC_HOUR:T OPRC_VRSS_PRPR_SIGN:c
    OPRC_VRSS_PRPR:d HGPR_HOUR:T HGPR_VRSS_PRPR_SIGN:c HGPR_VRSS_PRPR:d LWPR_HOUR:T
    LWPR_VRSS_PRPR_SIGN:c LWPR_VRSS_PRPR:d BSOP_DATE:D NEW_MKOP_CLS_CODE:c TRHT_YN:y
    ASKP_RSQN1:i BIDP_RSQN1:i TOTAL_ASKP_RSQN:i TOTAL_BIDP_RSQN:i VOL_TNRT:i
    PRDY_SMNS_HOUR_ACML_VOL:i PRDY_SMNS_HOUR_ACML_VOL_RATE:i HOUR_CLS_CODE:c
    MRKT_TRTM_CLS_CODE:c VI_STND_PRC:d MARKET_CLS_CODE:c
    """
)

BOOK_FIELDS = fields(
    """
    MKSC_SHRN_ISCD:c BSOP_HOUR:T HOUR_CLS_CODE:c ASKP1:d ASKP2:d ASKP3:d ASKP4:d
    ASKP5:d ASKP6:d ASKP7:d ASKP8:d ASKP9:d ASKP10:d BIDP1:d BIDP2:d BIDP3:d BIDP4:d
    BIDP5:d BIDP6:d BIDP7:d BIDP8:d BIDP9:d BIDP10:d ASKP_RSQN1:i ASKP_RSQN2:i
    ASKP_RSQN3:i ASKP_RSQN4:i ASKP_RSQN5:i ASKP_RSQN6:i ASKP_RSQN7:i ASKP_RSQN8:i
    ASKP_RSQN9:i ASKP_RSQN10:i BIDP_RSQN1:i BIDP_RSQN2:i BIDP_RSQN3:i BIDP_RSQN4:i
    BIDP_RSQN5:i BIDP_RSQN6:i BIDP_RSQN7:i BIDP_RSQN8:i BIDP_RSQN9:i BIDP_RSQN10:i
    TOTAL_ASKP_RSQN:i TOTAL_BIDP_RSQN:i OVTM_TOTAL_ASKP_RSQN:i
    OVTM_TOTAL_BIDP_RSQN:i ANTC_CNPR:d ANTC_CNQN:i ANTC_VOL:i ANTC_CNTG_VRSS:d
    ANTC_CNTG_VRSS_SIGN:c ANTC_CNTG_PRDY_CTRT:d ACML_VOL:i TOTAL_ASKP_RSQN_ICDC:i
    TOTAL_BIDP_RSQN_ICDC:i OVTM_TOTAL_ASKP_ICDC:d OVTM_TOTAL_BIDP_ICDC:d
    STCK_DEAL_CLS_CODE:c
    """
)

ATS_BOOK_TAIL = fields(
    """
    KMID_PRC:d KMID_TOTAL_RSQN:i KMID_CLS_CODE:c NMID_PRC:d NMID_TOTAL_RSQN:i
    NMID_CLS_CODE:c ANTC_EXCH_CLS_CODE:c
    """
)

NOTICE_FIELDS = fields(
    """
    CUST_ID:s ACNT_NO:c ODER_NO:c OODER_NO:c SELN_BYOV_CLS:c RCTF_CLS:c ODER_KIND:c
    ODER_COND:s STCK_SHRN_ISCD:c CNTG_QTY:i CNTG_UNPR:d STCK_CNTG_HOUR:T RFUS_YN:y
    CNTG_YN:y ACPT_YN:y BRNC_NO:c ODER_QTY:i ACNT_NAME:t ORD_COND_PRC:d ORD_EXG_GB:c
    POPUP_YN:y FILLER:s CRDT_CLS:c CRDT_LOAN_DATE:D CNTG_ISNM40:s ODER_PRC:d
    """
)

# Since 2026-09-14 the book of the exchange has four columns more. That they are
# there is seen in one client's notes; their names are the most likely ones, and
# nothing is read from them.
BOOK_TAIL = fields(
    """
    KMID_PRC:d KMID_TOTAL_RSQN:i KMID_CLS_CODE:c MARKET_CLS_CODE:c
    """
)
# Until NXT opened in March 2025 notices had 23 fields; the first 18 are the same.
OLD_NOTICE_TAIL = fields(
    """
    CNTG_ISNM:s CRDT_CLS:c CRDT_LOAN_DATE:D CNTG_ISNM40:s ODER_PRC:d
    """
)

CALL_FIELDS: Final = {
    name.lower(): value
    for name, value in tuple(globals().items())
    if isinstance(value, CallFields)
}
"""Call name to its tables."""
